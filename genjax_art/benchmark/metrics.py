"""Are the measures right, and what do they cost? python -m genjax_art.benchmark metrics [--json FILE]

Three tables: parity with other packages on the same features (those that are installed: pip install -e ".[parity]");
cases whose verdict is known; time and memory beside prdc and torch-fidelity, each in a process of its own. Exit status
1 where a row fails.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from genjax_art.benchmark.known_cases import CASES, known_case
from genjax_art.benchmark.peers import feature_metrics as peers
from genjax_art.errors import RunError
from genjax_art.metrics.panel import read, readings
from genjax_art.metrics.record import versions
from genjax_art.options import parse
from genjax_art.train.process import prepare_process

FASTER, SMALLER = 3.0, 0.25  # than prdc


@dataclass(frozen=True)
class Command:
    """Parity, known answers and cost of the measures of features."""

    tables: tuple[Literal["parity", "known", "cost"], ...] = ("parity", "known", "cost")
    """What is tried."""
    n: int = 10_000
    """Examples of each set when cost is measured."""
    width: int = 64
    """Features of an example then; Inception v3 has 2,048."""
    json: Path | None = None
    """Also write the tables here."""


def parity() -> list[dict[str, Any]]:
    """A row for each figure that a peer has, too; `ok` is None where the peer is absent."""
    table = []
    for row in peers.rows():
        entry: dict[str, Any] = {"peer": row.peer, "name": row.name, "within": row.within, "ok": None}
        if row.present:
            entry |= asdict(peers.check(row))
        table.append(entry)
    return table


def known() -> list[dict[str, Any]]:
    """What the panel says of each known case, beside what it should."""
    table = []
    for name in CASES:
        case = known_case(name)
        samples, held = readings(case.train, case.held, case.fake, case.held_styles, case.fake_styles)
        verdict = read(samples, held)
        right = verdict.words == case.words and abs(samples.copy_rate - case.copy_rate) <= 0.02
        table.append(
            {"name": name, "words": verdict.words, "expected": case.words, "ok": right, "samples": asdict(samples)}
        )
    return table


def cost(n: int, width: int) -> list[dict[str, Any]]:
    """A row for each side; ours is held to be three times as fast as prdc, in a quarter of its memory.

    Both sides' second call counts: the first compiles, for seconds, unless an earlier process has. The memory is what
    is taken beyond the features and the libraries.
    """
    from genjax_art.benchmark.peers.metric_cost import SIDES

    figures = {side: _measured(side, n, width) for side in SIDES if _installed(side)}
    table = [{"name": side, "n": n, "width": width, "ok": None, **found} for side, found in figures.items()]
    ours, theirs = figures["ours, precision to coverage"], figures.get("prdc")
    if theirs:
        faster, share = theirs["again_s"] / ours["again_s"], ours["more_mib"] / theirs["more_mib"]
        ok = faster >= FASTER and share <= SMALLER
        table.append({"name": "ours beside prdc", "faster": faster, "memory_share": share, "ok": ok})
    return table


def _installed(side: str) -> bool:
    module = peers.MODULES.get(side.split(",")[0])
    return module is None or importlib.util.find_spec(module) is not None


def _measured(side: str, n: int, width: int) -> dict[str, float]:
    command = [sys.executable, "-m", "genjax_art.benchmark.peers.metric_cost", side, str(n), str(width)]
    root = str(Path(__file__).resolve().parents[2])
    found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root})
    if found.returncode:
        raise RunError(f"{side} could not be measured: {found.stderr.strip().splitlines()[-1]}")
    return json.loads(found.stdout)


def main(arguments: Sequence[str]) -> None:
    """Prints the tables.

    Raises:
      RunError: a row fails.
    """
    command = parse(Command, arguments, "python -m genjax_art.benchmark metrics")
    prepare_process()
    report: dict[str, Any] = {"versions": versions()}
    for name in command.tables:
        made = {"parity": parity, "known": known, "cost": lambda: cost(command.n, command.width)}[name]
        report[name] = made()
        for row in report[name]:
            print(line(row), flush=True)
        if command.json:  # after each table: cost takes minutes
            command.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    failed = [f"{name}: {_title(row)}" for name in command.tables for row in report[name] if row["ok"] is False]
    if failed:
        raise RunError(f"failed: {'; '.join(failed)}")


def _title(row: dict[str, Any]) -> str:
    return ", ".join([*([row["peer"]] if "peer" in row else []), row["name"]])


def line(row: dict[str, Any]) -> str:
    """A row in words."""
    mark = {True: "ok", False: "FAILED", None: ""}[row["ok"]]
    if "peer" in row:
        figures = f"ours {row['ours']:.10g}, theirs {row['theirs']:.10g}" if "ours" in row else "not installed"
    elif "words" in row:
        figures = f"{' and '.join(row['words'])}; copy rate {row['samples']['copy_rate']:.3f}"
    elif "faster" in row:
        figures = f"{row['faster']:.1f} times as fast in {row['memory_share']:.0%} of its memory"
    else:
        figures = f"{row['again_s']:.2f} s ({row['first_s']:.2f} s at first), {row['more_mib']:.0f} MiB more"
        figures += f" ({row['peak_mib']:.0f} MiB in all)"
    return f"{_title(row):40s} {figures}  {mark}".rstrip()
