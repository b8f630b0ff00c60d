"""What was found, in the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genjax_art.errors import UsageError
from genjax_art.evaluate.judged import Judged
from genjax_art.metrics.record import Record, check_comparable
from genjax_art.metrics.row import Row

WIDTH = 110
COLOURS = {"good": "green", "worse": "red", "": "default"}
WORDS = {"low": "lower is better", "high": "higher is better", "real": "as held-out data is better"}


def print_plain(judged: Judged) -> None:
    """Figures without intervals, and words; of music each measure beside the band of held-out pieces."""
    print_bands(judged.found.get("bands", {}))
    plain = {n: v for n, v in judged.found.items() if not isinstance(v, Row | Mapping)}
    extractor = {n: v for n, v in judged.about.items() if n.startswith("extractor")}
    print_numbers({"run": judged.name, **extractor, **plain} if judged.rows else plain)


def print_bands(bands: Mapping[str, Mapping[str, Any]]) -> None:
    width = max(map(len, bands), default=0)
    for name, band in bands.items():
        words = "inside" if band["inside"] else "outside"
        print(f"{name:<{width}}  {band['value']:8.4f}  {band['low']:8.4f} .. {band['high']:8.4f}  {words}")
    if bands:
        print(f"{sum(band['inside'] for band in bands.values())} of {len(bands)} inside")


def print_numbers(numbers: Mapping[str, Any]) -> None:
    width = max(map(len, numbers), default=0)
    for name, value in numbers.items():
        words = " ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {words:.4f}" if isinstance(words, float) else f"{name:<{width}}  {words}")


def print_rows(found: Sequence[Judged]) -> None:
    """One table of all runs whose figures can be compared; the others' in tables of their own, and why."""
    for together, why in comparable([one for one in found if one.rows]):
        if why:
            print(f"{together[0].name} cannot be compared with {found[0].name}: {why}")
        show(_table(together))


def show(table: Table, width: int = WIDTH) -> None:
    """Prints it, at least so many characters wide: in a file or a narrow window lines are not broken."""
    console = Console()
    console.width = max(console.width, width)
    console.print(table)


def comparable(found: Sequence[Judged]) -> list[tuple[list[Judged], str]]:
    """The runs in groups whose figures can be compared, and why a group is apart from the first one."""
    groups: list[tuple[list[Judged], str]] = []
    for one in found:
        for together, _ in groups:
            if not refusal(together[0], one):
                together.append(one)
                break
        else:
            groups.append(([one], refusal(groups[0][0][0], one) if groups else ""))
    return groups


def refusal(a: Judged, b: Judged) -> str:
    """Why figures of two runs cannot be compared; nothing where all can."""
    for name in a.rows.keys() & b.rows.keys():
        try:
            check_comparable(a.rows[name].samples, b.rows[name].samples)
        except UsageError as error:
            return str(error)
    return "" if a.rows.keys() & b.rows.keys() else "they have no figure in common"


def _table(found: Sequence[Judged]) -> Table:
    first = next(iter(found[0].rows.values())).samples
    title = f"{first.n_fake} samples beside {first.n_real} training examples; 95 % intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("figure")
    for one in found:
        table.add_column(escape(one.name))
    table.add_column("held-out data")
    table.add_column("")
    for name, rows, real, words in lines(found):
        cells = [f"[{COLOURS[row.light]}]{shown(row.samples)}[/]" if row else "" for row in rows]
        table.add_row(escape(name), *cells, real, escape(words))
    return table


def lines(found: Sequence[Judged]) -> Iterator[tuple[str, list[Row | None], str, str]]:
    """Of every figure that a run has: its name, each run's row, that of held-out data in words, and what it means."""
    for name in dict.fromkeys(name for one in found for name in one.rows):
        rows = [one.rows.get(name) for one in found]
        known = next(row for row in rows if row)
        words = ", ".join([*([known.unit] if known.unit else []), WORDS[known.better], *known.samples.flags])
        words = "; ".join([words, *controls(known)])
        yield name, rows, shown(known.real) if known.real else "", words


def controls(row: Row) -> list[str]:
    """The figures of a row's controls in words; of one that is not told from held-out data, that it is unseen."""
    found = [f"{n} {r.value:.4g}{' (unseen)' if n in row.blind else ''}" for n, r in row.controls.items()]
    return [f"controls: {', '.join(found)}"] if found else []


def shown(record: Record) -> str:
    """A value and its interval, to four figures."""
    if not np.isfinite(record.value):
        return "unknown"
    if not (np.isfinite(record.low) and np.isfinite(record.high)) or record.low == record.high == record.value:
        return f"{record.value:.4g}"
    return f"{record.value:.4g} ({record.low:.4g} to {record.high:.4g})"
