"""A figure of samples beside the same figure of held-out data: what a perfect model would have."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from genjax_art.metrics.bootstrap import interval_of_means
from genjax_art.metrics.record import Record, versions
from genjax_art.metrics.seen import Seen, Sees

Better = Literal["low", "high", "real"]  # where a good model's figure lies: low, high, or where the real one is


class Figure(NamedTuple):
    """A value, its 95 % interval, and what a reader must know of it."""

    value: float
    low: float
    high: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    samples: Record
    real: Record | None
    """Of as many held-out examples in the samples' place; None where that makes no sense."""
    better: Better
    unit: str = ""
    controls: Mapping[str, Record] = field(default_factory=dict)
    """Of examples that are wrong on purpose, by name."""

    @property
    def light(self) -> str:
        """ "good" where the intervals of samples and held-out data meet, or the samples are the better ones; "" where
        nothing is known; else "worse"."""
        ours, theirs = self.samples, self.real
        if theirs is None or not all(map(np.isfinite, (ours.low, ours.high, theirs.low, theirs.high))):
            return ""
        above, below = ours.low > theirs.high, ours.high < theirs.low
        worse = {"low": above, "high": below, "real": above or below}[self.better]
        return "worse" if worse else "good"

    @property
    def blind(self) -> tuple[str, ...]:
        """The controls that are not told from held-out data, since their intervals meet: the figure says nothing of
        what is wrong with them."""
        if self.real is None:
            return ()
        judged = {name: Row(record, self.real, "real") for name, record in self.controls.items()}
        return tuple(name for name, one in judged.items() if one.light == "good")


def row(
    seen: Seen,
    metric: str,
    of: Callable[[Float[np.ndarray, "n d"]], Figure],
    *,
    better: Better,
    unit: str = "",
    k: int | None = None,
    seed: int = 0,
) -> Row:
    """What `of` finds of the samples' features, and of the held-out data's."""
    return row_of(seen, metric, lambda: of(seen.made), lambda: of(seen.held), better=better, unit=unit, k=k, seed=seed)


def row_of(
    seen: Seen,
    metric: str,
    samples: Callable[[], Figure],
    real: Callable[[], Figure] | None,
    *,
    better: Better,
    unit: str = "",
    k: int | None = None,
    seed: int = 0,
    n_real: int | None = None,
) -> Row:
    """Figures as records.

    Args:
      n_real: with how many real examples they are compared, if not with the reference.
    """

    return _row(
        metric,
        samples,
        real,
        better,
        unit,
        n_real=len(seen.reference) if n_real is None else n_real,
        n_fake=len(seen.made),
        extractor=seen.extractor.digest,
        resize=seen.extractor.resize,
        k=k,
        seed=seed,
        dtype=str(seen.made.dtype),
    )


def row_by(
    sees: Sees | str,
    metric: str,
    samples: Callable[[], Figure],
    real: Callable[[], Figure] | None,
    *,
    better: Better,
    n_real: int,
    n_fake: int,
    unit: str = "",
    seed: int = 0,
) -> Row:
    """Figures as records, of what is not seen by the extractor of the other measures.

    Args:
      sees: another extractor, or in words what is looked at.
      n_real: with how many real examples they are compared.
      n_fake: how many there are.
    """
    by, rule = (sees, "as they are") if isinstance(sees, str) else (sees.digest, sees.resize)
    words = {"extractor": by, "resize": rule, "n_real": n_real, "n_fake": n_fake, "seed": seed}
    return _row(metric, samples, real, better, unit, **words)


def _row(
    metric: str,
    samples: Callable[[], Figure],
    real: Callable[[], Figure] | None,
    better: Better,
    unit: str,
    **words: Any,
) -> Row:
    def record(figure: Callable[[], Figure]) -> Record:
        start = time.perf_counter()
        value, low, high, flags = figure()
        seconds = time.perf_counter() - start
        return Record(metric, value, low, high, **words, versions=versions(), seconds=seconds, flags=flags)

    return Row(record(samples), None if real is None else record(real), better, unit)


def figure_record(like: Record, figure: Figure) -> Record:
    """A figure measured as another one was, on as many examples."""
    value, low, high, flags = figure
    return replace(like, value=value, low=low, high=high, flags=flags)


def of_mean(values: np.ndarray, seed: int = 0) -> Figure:
    """The mean of one number for each example."""
    values = values.astype(np.float64)
    low, high = interval_of_means(lambda mean: mean, values, seed=seed)
    return Figure(float(values.mean()), low, high)
