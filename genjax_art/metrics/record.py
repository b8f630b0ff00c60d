"""A figure with all that it depends on, so that figures which cannot be compared are not."""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from genjax_art.errors import UsageError

# what must be the same; the seed need not, nor what the examples were computed on
COMPARED = ("metric", "extractor", "resize", "n_real", "n_fake", "k", "dtype")
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("metric", "extractor", "resize", "dtype"), (str,)),
    **dict.fromkeys(("value", "low", "high", "seconds"), (int, float, type(None))),
    **dict.fromkeys(("n_real", "n_fake", "seed"), (int,)),
    "k": (int, type(None)),
    "versions": (dict,),
    "flags": (list,),
}


@dataclass(frozen=True)
class Record:
    """One measured figure. Figures that are not known are NaN."""

    metric: str
    value: float
    low: float
    """With `high` the 95 % interval, by bootstrap (`bootstrap.py`)."""
    high: float
    n_real: int
    n_fake: int
    extractor: str
    """Hash of the feature extractor, its weights included."""
    resize: str
    """The rule by which examples are brought to the extractor's size and range."""
    k: int | None = None
    """The neighbour that balls reach to, where there is one."""
    seed: int = 0
    dtype: str = "float32"
    """Of the features."""
    versions: Mapping[str, str] | None = None
    seconds: float = math.nan
    """Wall time of the measure, without that of the features."""
    flags: tuple[str, ...] = ()
    """What a reader must know, as "rank-deficient"."""


def versions() -> dict[str, str]:
    """Those of Python and of what computes."""
    found = {"python": platform.python_version()}
    for name in ("genjax-art", "jax", "jaxlib", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout
            found[name] = "unknown"
    return found


@dataclass(frozen=True)
class Comparison:
    """`difference` is b - a; `apart` says that their intervals do not meet: no chance of the draw, then."""

    difference: float
    apart: bool


def compare(a: Record, b: Record) -> Comparison:
    """The difference of two records.

    Raises:
      UsageError: they are of another metric, extractor, resize rule, number of examples, k or dtype: such figures
        measure different things. One pair of distributions has FID 122.7 at 300 samples and 11.7 at 4,000.
    """
    differing = [name for name in COMPARED if getattr(a, name) != getattr(b, name)]
    if differing:
        sides = ", ".join(f"{name} ({getattr(a, name)} and {getattr(b, name)})" for name in differing)
        raise UsageError(f"records cannot be compared: they differ in {sides}")
    return Comparison(b.value - a.value, bool(a.high < b.low or b.high < a.low))


def to_json(records: Iterable[Record]) -> str:
    """A list of objects; NaN, which JSON does not have, is null."""
    rows = [{name: _plain(value) for name, value in asdict(record).items()} for record in records]
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def from_json(text: str) -> list[Record]:
    """What `to_json` wrote.

    Raises:
      ValueError: the text is no such list; the message names the entry.
    """
    rows = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("records are a list")
    return [_record(row, number) for number, row in enumerate(rows)]


def _record(row: Any, number: int) -> Record:
    names = {field.name for field in fields(Record)}
    if not isinstance(row, dict) or set(row) != names:
        given = set(row) if isinstance(row, dict) else set()
        raise ValueError(f"record {number} lacks or adds fields: {sorted(names ^ given)}")
    for name, types in _TYPES.items():
        right = (row[name] in ("inf", "-inf") and float in types) or isinstance(row[name], types)
        if (not right and not (name == "versions" and row[name] is None)) or isinstance(row[name], bool):
            raise ValueError(f"record {number}: {name} is {row[name]!r}")
    numbers = {name: math.nan if row[name] is None else float(row[name]) for name, t in _TYPES.items() if float in t}
    return Record(**{**row, **numbers, "flags": tuple(row["flags"])})
