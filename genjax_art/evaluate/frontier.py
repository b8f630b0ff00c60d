"""How far from the styles without leaving the data: python -m genjax_art.evaluate frontier RUN [RUN ...]

Each run is drawn at several truncations; runs trained with several --objective.ambiguity stand beside one another. The
plot has style entropy (how undecided) over precision (on the manifold): up and to the right is new and still good.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from genjax_art.errors import RunError, UsageError
from genjax_art.evaluate import judged, tables
from genjax_art.evaluate.command import Judging
from genjax_art.evaluate.judged import Judged
from genjax_art.files import check_writable, printable, refuse_link, replacing
from genjax_art.latents import Spread
from genjax_art.metrics import classes, manifold, panel
from genjax_art.metrics.row import Row
from genjax_art.options import parse
from genjax_art.train.process import prepare_process

MEASURED = ("style_entropy", "precision")


@dataclass(frozen=True)
class FrontierCommand(Judging):
    """Draw runs at several truncations, and plot style entropy over precision."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders that train.py made, on the same data."""
    truncations: tuple[float, ...] = (2.0, 1.0, 0.5)
    """Of the latents, besides none."""
    out: Path | None = None
    """Folder of frontier.png and frontier.json (default: evaluation in the first run's folder)."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""


@dataclass(frozen=True)
class Point:
    """A run at a truncation (None: none): both figures beside those of held-out data, and the panel's word."""

    run: str
    truncation: float | None
    rows: dict[str, Row]
    verdict: str


def frontier(arguments: Sequence[str]) -> int:
    command = parse(FrontierCommand, arguments, "python -m genjax_art.evaluate frontier RUN [RUN ...]", __doc__)
    if not command.runs:
        raise UsageError("name a run: python -m genjax_art.evaluate frontier RUN [RUN ...]")
    out = command.out or command.runs[0] / "evaluation"
    refuse_link(out)
    check_writable(out)
    prepare_process()
    spreads = [Spread(), *(Spread(truncation=t) for t in command.truncations)]
    found = []
    measures = judged.find_measures(["classes"])
    for one in judged.told_apart([judged.judge(folder, command, measures) for folder in command.runs]):
        if "style_entropy" not in one.found:
            raise RunError(f"{one.folder}: its data have no styles, or the extractor does not know them")
        found += [point(one, spread, command.seed) for spread in spreads]
    _print(found)
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "frontier.json") as part:
        part.write_text(json.dumps([_plain(one) for one in found], indent=2) + "\n", encoding="utf-8")
    with replacing(out / "frontier.png") as part:
        _draw(found, part)
    print(f"written: {out / 'frontier.png'} and {out / 'frontier.json'}")
    return 0


def point(one: Judged, spread: Spread, seed: int) -> Point:
    """The figures of a run's samples at one spread."""
    made: Float[np.ndarray, "n ..."] = one.subject.run.sample(len(one.subject.made), seed, one.subject.asked, spread)
    seen = one.subject.seen
    of_made = seen.extractor.of(made[: len(seen.held)])
    other = dataclasses.replace(seen, made=of_made["features"], made_logits=of_made["logits"])
    subject = dataclasses.replace(one.subject, made=made, look=lambda: other)
    rows = {**subject.once(classes.measure), **subject.once(manifold.measure)}
    verdict = subject.once(panel.measure)["verdict"]
    return Point(one.name, spread.truncation, {name: rows[name] for name in MEASURED}, verdict)


def _plain(one: Point) -> dict[str, object]:
    figures = {
        name: {"value": row.samples.value, "low": row.samples.low, "high": row.samples.high}
        for name, row in one.rows.items()
    }
    held = {name: row.real.value for name, row in one.rows.items() if row.real}
    return {
        "run": printable(one.run),
        "truncation": one.truncation,
        **figures,
        "held-out": held,
        "verdict": one.verdict,
    }


def _print(found: Sequence[Point]) -> None:
    table = Table(box=SIMPLE)
    for head in ("run", "truncation", *MEASURED, "verdict"):
        table.add_column(head)
    for one in found:
        figures = [tables.shown(one.rows[name].samples) for name in MEASURED]
        table.add_row(
            escape(one.run), "none" if one.truncation is None else f"{one.truncation:g}", *figures, one.verdict
        )
    real = [row.real for row in found[0].rows.values()]
    table.add_row("held-out data", "", *(tables.shown(record) if record else "" for record in real), "")
    tables.show(table)


def _draw(found: Sequence[Point], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=110)
    axes = figure.add_subplot()
    for run in dict.fromkeys(one.run for one in found):
        points = [one for one in found if one.run == run]
        x, y = ([one.rows[name].samples for one in points] for name in ("precision", "style_entropy"))
        across, along = [r.value for r in x], [r.value for r in y]
        axes.errorbar(
            across,
            along,
            xerr=np.abs([[r.value - r.low for r in x], [r.high - r.value for r in x]]),
            yerr=np.abs([[r.value - r.low for r in y], [r.high - r.value for r in y]]),
            marker="o",
            capsize=2,
            label=run,
        )
        for one, a, b in zip(points, across, along, strict=True):
            axes.annotate(
                "all" if one.truncation is None else f"{one.truncation:g}",
                (a, b),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=7,
            )
    real = {name: found[0].rows[name].real for name in MEASURED}
    if (entropy := real["style_entropy"]) and (precision := real["precision"]):
        axes.plot([precision.value], [entropy.value], "k*", markersize=12, label="held-out data")
    axes.set_xlabel("precision")
    axes.set_ylabel("style entropy (nats)")
    axes.legend()
    figure.savefig(path, format="png")
