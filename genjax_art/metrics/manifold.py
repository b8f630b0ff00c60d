"""Quality and variety by the balls that reach from each example to its k-th neighbour: the two sets' manifolds.

Values are per example, so that the measures are means and their intervals are those of means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from genjax_art.errors import RunError
from genjax_art.metrics.neighbours import ball_radii, cross_balls, least, nearest
from genjax_art.metrics.row import Better, Figure, Row, of_mean, row, row_of
from genjax_art.metrics.seen import KS
from genjax_art.metrics.subject import Subject


@dataclass(frozen=True)
class Overlap:
    """Of one k. For each of m samples: in how many balls of real examples it lies; for each of n real examples: whether
    it lies in a sample's ball, and whether a sample lies in its own."""

    k: int
    real_balls: Int64[np.ndarray, " m"]
    reached: Bool[np.ndarray, " n"]
    occupied: Bool[np.ndarray, " n"]

    @property
    def precise(self) -> Bool[np.ndarray, " m"]:
        return self.real_balls > 0

    @property
    def precision(self) -> float:
        """Share of samples within the real manifold (Kynkaanniemi et al. 2019, arXiv:1904.06991; there k = 3)."""
        return float(self.precise.mean())

    @property
    def recall(self) -> float:
        """Share of real examples within the samples' manifold (arXiv:1904.06991; there k = 3)."""
        return float(self.reached.mean())

    @property
    def density(self) -> float:
        """Mean number of real balls around a sample over k: about 1 for samples like the data, more for samples where
        the data are densest (Naeem et al. 2020, arXiv:2002.09797; there k = 5)."""
        return float(self.real_balls.mean() / self.k)

    @property
    def coverage(self) -> float:
        """Share of real examples whose ball holds a sample (arXiv:2002.09797; there k = 5)."""
        return float(self.occupied.mean())


def overlaps(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    ks: Sequence[int] = (3, 5),
    *,
    closed: bool = True,
    radii: Float64[np.ndarray, "n r"] | None = None,
) -> tuple[Overlap, ...]:
    """The `Overlap` of each k; all of them from three passes over pairs.

    Recall and coverage rise with the number of samples: compare sets of the same sizes only.

    Args:
      ks: the neighbour to which the balls reach, not counting the example itself. At most four.
      closed: an example on the surface is inside, as in the first paper's program; the second's counts it as outside.
      radii: those of the real balls, where they are known.

    Raises:
      ValueError: a k below 1, a set with no more rows than the largest k, or features that are not finite.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"balls reach to the k-th neighbour with k from 1 on, got {tuple(ks)}")
    of_real = ball_radii(real, ks) if radii is None else radii
    of_fake = ball_radii(fake, ks)
    in_real, around_fake, in_fake, _ = cross_balls(real, fake, of_real, of_fake, closed=closed)
    return tuple(Overlap(k, around_fake[:, i], in_fake[:, i] > 0, in_real[:, i] > 0) for i, k in enumerate(ks))


def density(
    real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], radius: Float64[np.ndarray, " n"], k: int
) -> float:
    """`Overlap.density` alone, with the real balls' radii to the k-th neighbour at hand."""
    nothing = np.full((len(fake), 1), -1.0)
    return float(cross_balls(real, fake, radius[:, None], nothing)[1].mean() / k)


def realism(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    k: int = 3,
    radius: Float64[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, " m"]:
    """How far inside the real manifold each sample is: the greatest ratio of a real ball's radius to the sample's
    distance from its centre (arXiv:1904.06991, equation 3). From 1 on it is inside; 0 is nowhere near.

    Balls larger than the median do not count, as in the paper: a few outliers reach everywhere. Copies, which would be
    infinitely realistic, get the greatest ratio that float64 can tell, 1e8.

    Args:
      k: the neighbour to which balls reach.
      radius: their radii, where they are known.

    Raises:
      ValueError: fewer than k + 1 real examples, or features that are not finite.
    """
    radius = ball_radii(real, (k,))[:, 0] if radius is None else radius
    inside = (radius <= np.median(radius)) & (radius > 0)
    if not inside.any():  # more than half of the data are copies of one another: only copies lie on them
        return np.where(nearest(fake, real, 1)[0][:, 0] == 0, 1e8, 0.0)
    centres, radius = real[inside], radius[inside]
    ratio, _, _ = least(_relative, fake, centres, radius**-2.0, 1, per_unit=2.0)
    return 1.0 / np.sqrt(np.maximum(ratio[:, 0], 1e-16))


def _relative(xp: Any, square: Any, value: Any) -> Any:
    return square * value


def rarity(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    k: int = 3,
    radius: Float64[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, " m"]:
    """The radius of the smallest real ball around each sample: how thinly the data lie where it is, in the features'
    unit; NaN for a sample in no ball (Han et al. 2022, arXiv:2206.08549).

    Args:
      k: the neighbour to which balls reach.
      radius: their radii, where they are known.

    Raises:
      ValueError: fewer than k + 1 real examples, or features that are not finite.
    """
    radius = ball_radii(real, (k,))[:, 0] if radius is None else radius
    square, _, unit = least(_containing, fake, real, radius**2, 1, per_unit=-2.0)
    return np.where(np.isfinite(square[:, 0]), np.sqrt(square[:, 0]) * unit, np.nan)


def _containing(xp: Any, square: Any, value: Any) -> Any:
    return xp.where(xp.sqrt(square) <= xp.sqrt(value), value, xp.inf)  # a tie of squares may be none of distances


def mean_rarity(values: Float64[np.ndarray, " m"]) -> float:
    """The mean over samples inside the manifold; NaN where there are none."""
    inside = values[~np.isnan(values)]
    return float(inside.mean()) if len(inside) else float("nan")


def measure(subject: Subject) -> dict[str, Row]:
    """Precision and recall to the third neighbour, density and coverage to the fifth; the median realism of samples,
    and the mean rarity of those in the manifold."""
    seen, seed = subject.seen, subject.seed
    if min(len(seen.made), len(seen.reference)) <= max(KS):
        raise RunError(f"manifolds need more than {max(KS)} samples, held-out and training examples: see --n")
    made, held = (overlaps(seen.reference, x, KS, radii=seen.radii) for x in (seen.made, seen.held))

    def pair(name: str, which: int, better: Better, of: Callable[[Overlap], Float64[np.ndarray, " _"]]) -> Row:
        return row_of(
            seen,
            name,
            lambda: of_mean(of(made[which]), seed),
            lambda: of_mean(of(held[which]), seed),
            better=better,
            k=KS[which],
            seed=seed,
        )

    return {
        "precision": pair("precision", 0, "high", lambda found: found.precise.astype(np.float64)),
        "recall": pair("recall", 0, "high", lambda found: found.reached.astype(np.float64)),
        "density": pair("density", 1, "real", lambda found: found.real_balls / found.k),
        "coverage": pair("coverage", 1, "high", lambda found: found.occupied.astype(np.float64)),
        "realism": row(
            seen,
            "realism",
            lambda x: _median(realism(seen.reference, x, KS[0], seen.radii[:, 0]), seed),
            better="real",
            k=KS[0],
            seed=seed,
        ),
        "rarity": row(
            seen,
            "rarity",
            lambda x: _known_mean(rarity(seen.reference, x, KS[0], seen.radii[:, 0]), seed),
            better="real",
            k=KS[0],
            seed=seed,
        ),
    }


def _median(values: Float64[np.ndarray, " m"], seed: int) -> Figure:
    rng = np.random.default_rng(seed)
    medians = np.median(values[rng.integers(len(values), size=(1000, len(values)))], 1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return Figure(float(np.median(values)), float(low), float(high))


def _known_mean(values: Float64[np.ndarray, " m"], seed: int) -> Figure:
    inside = values[~np.isnan(values)]
    return of_mean(inside, seed) if len(inside) else Figure(np.nan, np.nan, np.nan, ("no sample in the manifold",))
