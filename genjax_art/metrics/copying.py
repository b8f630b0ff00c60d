"""Is it copied? Samples beside the training data, each measure with what held-out data would score.

`train` are the examples that the model has seen, `held` others of the same kind, `fake` its samples. None of these
measures knows whether a sample is any good: noise is no copy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from genjax_art.metrics.bootstrap import interval_of_means
from genjax_art.metrics.neighbours import ball_radii, nearest, nearest_others
from genjax_art.metrics.row import Better, Figure, Row, of_mean, row_of
from genjax_art.metrics.stream import chunks, evenly, features
from genjax_art.metrics.subject import Subject


@dataclass(frozen=True)
class CopyRate:
    """`near` tells which samples count as copies, `near_held` which held-out examples do; `threshold` is of ratios."""

    near: Bool[np.ndarray, " m"]
    near_held: Bool[np.ndarray, " h"]
    threshold: float

    @property
    def rate(self) -> float:
        return excess(float(self.near.mean()), float(self.near_held.mean()))


def excess(share: float, by_chance: float) -> float:
    """The share of copies if all others were marked as often as held-out data are: at least 0."""
    return max(0.0, (share - by_chance) / (1.0 - by_chance)) if by_chance < 1 else 0.0


def copy_rate(
    train: Float[np.ndarray, "n d"],
    held: Float[np.ndarray, "h d"],
    fake: Float[np.ndarray, "m d"],
    *,
    level: float = 0.01,
    second: int = 2,
) -> CopyRate:
    """Share of samples that are far nearer to one training example than to the next.

    The ratio of the distances to the first and to the second neighbour is near 0 for a copy, and has no unit (after
    Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to memorize", who take 1/3 as the
    threshold). How small it is for what is no copy depends on the dimension: here the threshold is the `level` quantile
    of held-out data, and what they exceed by chance is taken off.

    Args:
      level: share of held-out data marked by mistake; more is seen of distant copies, and less surely.
      second: which neighbour is the next; of 2 exact copies among the training examples count once, with more near
        ones are allowed for.

    Raises:
      ValueError: fewer than `second` training examples, a level outside (0, 1), or features that are not finite.
    """
    if not 0 < level < 1 or second < 2:
        raise ValueError(f"a copy rate needs a level within (0, 1) and a second neighbour, got {level:g} and {second}")
    if second == 2:  # an example that is there twice would be its copy's second neighbour, too
        train = without_twins(train)
    of_held, of_fake = (neighbour_ratio(train, rows, second) for rows in (held, fake))
    threshold = float(np.quantile(of_held, level))
    return CopyRate(of_fake <= threshold, of_held <= threshold, threshold)


def without_twins(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m d"]:
    """The rows, equal ones once, in their order; all of them where only one would be left."""
    plain = np.ascontiguousarray(rows)
    bytes_of = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    _, first = np.unique(bytes_of, return_index=True)
    return plain[np.sort(first)] if 1 < len(first) < len(rows) else rows


def neighbour_ratio(
    train: Float[np.ndarray, "n d"], rows: Float[np.ndarray, "m d"], second: int = 2
) -> Float64[np.ndarray, " m"]:
    """Distance to the nearest training example over that to the `second` nearest, in [0, 1]; 0 for an exact copy."""
    distance, _ = nearest(rows, train, second)
    first, next_one = distance[:, 0], distance[:, -1]
    return np.where(first == 0, 0.0, first / np.where(next_one > 0, next_one, 1.0))


def authentic(
    train: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], spacing: Float64[np.ndarray, " n"] | None = None
) -> Bool[np.ndarray, " m"]:
    """Whether each sample is farther from its nearest training example than that one is from its own nearest other.

    Alaa et al. 2022, "How faithful is your synthetic data?", arXiv:2102.08921. Of data like the training data about
    half is; of rubbish everything.

    Args:
      spacing: the distance of each training example to its nearest other, where it is known.

    Raises:
      ValueError: fewer than two training examples, or features that are not finite.
    """
    distance, index = nearest(fake, train, 1)
    among = ball_radii(train, (1,))[:, 0] if spacing is None else spacing
    return distance[:, 0] > among[index[:, 0]]  # of the training example that is near, not of the sample's number


@dataclass(frozen=True)
class CopyTest:
    """`value`: below -3 samples are closer to training data than held-out data are; above 3 farther (underfitted).

    `cells` has the z of each cell, NaN where too few examples fall into it; `shares` the held-out examples' shares.
    """

    value: float
    cells: Float64[np.ndarray, " c"]
    shares: Float64[np.ndarray, " c"]


def data_copying(
    train: Float[np.ndarray, "n d"],
    held: Float[np.ndarray, "h d"],
    fake: Float[np.ndarray, "m d"],
    *,
    cells: int = 10,
    least: int = 20,
    seed: int = 0,
) -> CopyTest:
    """C_T of Meehan, Chaudhuri & Dasgupta 2020, arXiv:2004.05675: a Mann-Whitney test of distances to training data.

    In each cell of a partition (k-means of the training data) the distances of samples and of held-out examples to
    their nearest training examples are ranked together; the z of the cells are averaged with the held-out shares.
    Samples nearer to the middle of the data than these are look like copies to it, too.

    Args:
      cells: of the partition; fewer where training data are few.
      least: samples and held-out examples that a cell needs to count.
      seed: of the partition.

    Raises:
      ValueError: no cell has enough of both, no training data, or features that are not finite.
    """
    of_held, of_fake = nearest(held, train, 1)[0][:, 0], nearest(fake, train, 1)[0][:, 0]
    centres = k_means(train, max(1, min(cells, len(train) // least)), seed)
    cell_held, cell_fake = (nearest(rows, centres, 1)[1][:, 0] for rows in (held, fake))
    shares = np.bincount(cell_held, minlength=len(centres)) / len(held)
    scores = np.full(len(centres), np.nan)
    for cell in range(len(centres)):
        near, far = of_fake[cell_fake == cell], of_held[cell_held == cell]
        if min(len(near), len(far)) >= least:
            scores[cell] = mann_whitney(near, far)
    known = ~np.isnan(scores)
    if not known.any():
        raise ValueError(f"no cell holds {least} samples and {least} held-out examples: measure more")
    return CopyTest(float(np.average(scores[known], weights=shares[known])), scores, shares)


def mann_whitney(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " m"]) -> float:
    """z of the number of pairs with x above y (ties count half): standard normal if both have one law, for large sets.

    The variance is corrected for ties; 0 where all values are one.
    """
    n, m = len(x), len(y)
    ordered = np.sort(y)
    above = 0.5 * (np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right")).sum()
    ties = np.unique(np.concatenate([x, y]), return_counts=True)[1].astype(np.float64)
    total = float(n + m)
    variance = n * m / 12.0 * (total + 1.0 - np.sum(ties**3 - ties) / (total * (total - 1.0)))
    return float((above - 0.5 * n * m) / np.sqrt(variance)) if variance > 0 else 0.0


def k_means(
    x: Float[np.ndarray, "n d"], k: int, seed: int = 0, *, rounds: int = 25, most: int = 10_000
) -> Float64[np.ndarray, "k d"]:
    """k centres by Lloyd's rounds from rows drawn by k-means++ (of `most` rows, evenly chosen)."""
    some = np.concatenate(list(chunks(x[evenly(len(x), most)])))
    mean, rng = some.mean(0), np.random.default_rng(seed)
    some = some - mean
    centres = some[rng.integers(len(some))][None]
    for _ in range(k - 1):
        away = _squares(some, centres).min(1)
        weights = away / away.sum() if away.sum() > 0 else None
        centres = np.concatenate([centres, some[rng.choice(len(some), p=weights)][None]])
    for _ in range(rounds):
        cell = _squares(some, centres).argmin(1)
        counts = np.bincount(cell, minlength=k)
        sums = (np.arange(k)[:, None] == cell[None, :]).astype(np.float64) @ some
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres + mean


def _squares(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, "n k"]:
    return np.maximum(np.sum(x**2, 1)[:, None] - 2.0 * x @ y.T + np.sum(y**2, 1)[None, :], 0.0)


def duplicates(
    fake: Float[np.ndarray, "m d"], real: Float[np.ndarray, "n d"], *, nearer: float = 0.1
) -> Bool[np.ndarray, " m"]:
    """Which samples have a twin: another sample nearer than `nearer` times the median distance from a real example to
    its nearest other, among as many real examples (evenly chosen) where there are more.

    Raises:
      ValueError: fewer than two of either, or features that are not finite.
    """
    features(real, "a search for duplicates", 2)
    some = real[evenly(len(real), max(2, len(fake)))]
    typical = float(np.median(nearest_others(some, 1)[0]))
    return nearest_others(fake, 1)[0][:, 0] <= nearer * typical


def nearest_training(
    train: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], k: int = 3
) -> Int64[np.ndarray, "m k"]:
    """The numbers of the k training examples nearest to each sample, to be looked at beside it."""
    return nearest(fake, train, k)[1]


def measure(subject: Subject) -> dict[str, Row]:
    """Copies of training examples among samples; beside them one half of the held-out data, judged by the other."""
    seen, seed = subject.seen, subject.seed
    some, others = seen.held[::2], seen.held[1::2]

    def rate(held: Float[np.ndarray, "h d"], fake: Float[np.ndarray, "m d"]) -> Figure:
        found = copy_rate(seen.known, held, fake)
        low, high = interval_of_means(excess, found.near, found.near_held, seed=seed)
        return Figure(found.rate, low, high)

    def test(held: Float[np.ndarray, "h d"], fake: Float[np.ndarray, "m d"]) -> Figure:
        try:
            found = data_copying(seen.known, held, fake, seed=seed)
        except ValueError:  # no cell has enough of both
            return Figure(np.nan, np.nan, np.nan, ("too few examples",))
        counted = found.shares[~np.isnan(found.cells)]
        width = 1.96 * float(np.sqrt(np.sum(counted**2)) / np.sum(counted))  # of a mean of standard normal numbers
        return Figure(found.value, found.value - width, found.value + width)

    def pair(name: str, samples: Callable[[], Figure], real: Callable[[], Figure], better: Better, n_real: int) -> Row:
        return row_of(seen, name, samples, real, better=better, n_real=n_real, seed=seed)

    def share(of: Callable[[Float[np.ndarray, "m d"]], np.ndarray], x: Float[np.ndarray, "m d"]) -> Figure:
        return of_mean(of(x), seed)

    new, twins, every = (
        partial(authentic, seen.known, spacing=seen.spacing),
        partial(duplicates, real=seen.held),
        len(seen.known),
    )
    return {
        "copy_rate": pair("copy_rate", lambda: rate(seen.held, seen.made), lambda: rate(some, others), "low", every),
        "C_T": pair("C_T", lambda: test(seen.held, seen.made), lambda: test(some, others), "real", every),
        "authentic": pair("authentic", lambda: share(new, seen.made), lambda: share(new, seen.held), "real", every),
        "duplicates": pair(
            "duplicates", lambda: share(twins, seen.made), lambda: share(twins, seen.held), "low", len(seen.held)
        ),
    }
