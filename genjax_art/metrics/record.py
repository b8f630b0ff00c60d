"""A figure with all that it depends on, so that figures which cannot be compared are not."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from genjax_art.errors import UsageError

# what must be the same; the seed need not, nor what the examples were computed on
COMPARED = ("metric", "extractor", "resize", "n_real", "n_fake", "k", "dtype")


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


def check_comparable(a: Record, b: Record) -> None:
    """Two records measure the same.

    Raises:
      UsageError: they are of another metric, extractor, resize rule, number of examples, k or dtype: such figures
        measure different things. One pair of distributions has FID 122.7 at 300 samples and 11.7 at 4,000.
    """
    differing = [name for name in COMPARED if getattr(a, name) != getattr(b, name)]
    if differing:
        sides = ", ".join(f"{name} ({getattr(a, name)} and {getattr(b, name)})" for name in differing)
        raise UsageError(f"records cannot be compared: they differ in {sides}")
