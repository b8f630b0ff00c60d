"""Frechet distance between two sets of feature vectors: how far apart the Gaussians with their moments are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from genjax_art.metrics.bootstrap import interval_of_halves
from genjax_art.metrics.row import Figure, Row, row
from genjax_art.metrics.stream import chunks, features, mean_of
from genjax_art.metrics.subject import Subject

LINE = 10  # samples for each feature, below which a line in 1/m is all noise


def frechet_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """`gaussian_frechet` of the means and covariances (1/n, the likeliest ones) of two sets, in squared units of x.

    It sees means and covariances only, and is biased upwards by about d/n: compare distances of sets of the same sizes.

    Raises:
      ValueError: an empty set, or numbers that are not finite.
    """
    return frechet(x, y, ddof=0).value


@dataclass(frozen=True)
class Frechet:
    """`value` in squared units of the features; `rank_deficient`: a set has no more rows than features."""

    value: float
    rank_deficient: bool


def frechet(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], *, ddof: int = 1) -> Frechet:
    """The Frechet distance of two sets, and whether a covariance must be singular (as n <= d makes it).

    Of the features of Inception v3 it is the FID (Heusel et al. 2017, arXiv:1706.08500); of other features it is not.
    With more rows than features the factors of the covariances are their roots (by eigh), otherwise the centred rows
    themselves, so that nothing is d x d; the trace of the root of the product is the sum of singular values of the
    factors' product, which is stable in both cases.

    Args:
      ddof: 1 divides sums of squares by n - 1, as the published FIDs do; 0 by n.

    Raises:
      ValueError: no more rows than `ddof`, or features that are not finite.
    """
    sets = [features(rows, "a Frechet distance", 1 + ddof) for rows in (x, y)]
    of_x, of_y = (_gaussian(rows, ddof) for rows in sets)
    return Frechet(_distance(of_x, of_y), any(len(rows) <= rows.shape[1] for rows in sets))


@dataclass(frozen=True)
class _Gaussian:
    """A mean, a factor F of the covariance F'F, and the covariance's trace."""

    mean: Float64[np.ndarray, " d"]
    factor: Float64[np.ndarray, "r d"]
    trace: float


def _gaussian(rows: Float[np.ndarray, "n d"], ddof: int) -> _Gaussian:
    n, d = rows.shape
    mean = mean_of(rows)
    if n <= d:
        factor = (rows - mean) / np.sqrt(n - ddof)
        return _Gaussian(mean, factor, float(np.sum(factor**2)))
    covariance = np.zeros((d, d))
    for part in chunks(rows):
        covariance += (part - mean).T @ (part - mean)
    covariance /= n - ddof
    return _Gaussian(mean, _root(covariance), float(np.trace(covariance)))


def _distance(x: _Gaussian, y: _Gaussian) -> float:
    cross = np.linalg.svd(x.factor @ y.factor.T, compute_uv=False).sum()
    spread = x.trace + y.trace - 2.0 * cross
    return float(np.sum((x.mean - y.mean) ** 2) + max(spread, 0.0))  # rounding may take it below 0


def gaussian_frechet(
    mean_x: Float64[np.ndarray, " d"],
    covariance_x: Float64[np.ndarray, "d d"],
    mean_y: Float64[np.ndarray, " d"],
    covariance_y: Float64[np.ndarray, "d d"],
) -> float:
    """|mean_x - mean_y|^2 + tr(A + B - 2 (A B)^(1/2)) of two Gaussians with covariances A and B.

    This is the square of their Wasserstein-2 distance (Dowson & Landau 1982). The trace of (A B)^(1/2) is the sum of
    the singular values of A^(1/2) B^(1/2): that needs roots of symmetric matrices only, and holds where A or B is
    singular.
    """
    x, y = (
        _Gaussian(mean, _root(covariance), float(np.trace(covariance)))
        for mean, covariance in ((mean_x, covariance_x), (mean_y, covariance_y))
    )
    return _distance(x, y)


def _root(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d d"]:
    """The symmetric root of a symmetric matrix without negative eigenvalues, but for rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


@dataclass(frozen=True)
class Extrapolation:
    """`value` at infinitely many samples: where the line through `distances` over 1 / `sizes` meets 0."""

    value: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    real: Float[np.ndarray, "n d"],
    fake: Float[np.ndarray, "m d"],
    *,
    points: int = 15,
    smallest: int | None = None,
    ddof: int = 1,
    seed: int = 0,
) -> Extrapolation:
    """The Frechet distance that infinitely many samples would have, by a line in 1/m (Chong & Forsyth 2020,
    arXiv:1911.07023).

    The bias that finite sets of samples cause is 1/m to first order, with a factor that depends on the model. Distances
    of random subsets of `fake` to all of `real` are taken at sizes evenly spaced from `smallest` to m. The bias of a
    finite `real` remains.

    Args:
      points: sizes at which a distance is taken.
      smallest: the least of them (default: a tenth of m, and more than d).
      seed: of the subsets.

    Raises:
      ValueError: fewer than two points, or too few samples for these sizes.
    """
    least = max(len(fake) // 10, fake.shape[1] + 1 + ddof) if smallest is None else smallest
    if points < 2 or not 1 + ddof <= least < len(fake):
        raise ValueError(f"an extrapolation needs 2 points and samples beyond {least}, got {points} and {len(fake)}")
    features(real, "a Frechet distance", 1 + ddof)
    features(fake, "a Frechet distance", 1 + ddof)
    rng, reference = np.random.default_rng(seed), _gaussian(real, ddof)
    sizes = np.unique(np.linspace(least, len(fake), points).astype(np.int64))
    some = [fake[np.sort(rng.choice(len(fake), size, replace=False))] for size in sizes]
    distances = [_distance(reference, _gaussian(rows, ddof)) for rows in some]
    _, value = np.polyfit(1.0 / sizes, distances, 1)
    return Extrapolation(float(value), tuple(int(size) for size in sizes), tuple(distances))


def measure(subject: Subject, *, ddof: int = 1) -> dict[str, Row]:
    """The Frechet distance of samples from the training data, and what it would be of infinitely many.

    Args:
      ddof: 1 divides sums of squares by n - 1, as the published FIDs do; 0 by n.
    """
    seen, seed = subject.seen, subject.seed
    name, few = seen.extractor.figure("FD"), len(seen.reference) <= seen.reference.shape[1]
    of = figures(seen.reference, ddof=ddof, seed=seed)
    found = {name: row(seen, name, of, better="low", unit="squared features", seed=seed)}
    if len(seen.made) >= LINE * seen.made.shape[1] and not few:
        at = f"{name}-infinity"

        def infinite(fake: Float[np.ndarray, "m d"]) -> Figure:
            def value(fake: Float[np.ndarray, "m d"]) -> float:
                return frechet_infinity(seen.reference, fake, ddof=ddof, seed=seed).value

            return Figure(value(fake), *interval_of_halves(value, fake, repeats=10, seed=seed))

        found[at] = row(seen, at, infinite, better="low", unit="squared features", seed=seed)
    return found


def figures(
    real: Float[np.ndarray, "n d"], *, ddof: int = 1, seed: int = 0
) -> Callable[[Float[np.ndarray, "m d"]], Figure]:
    """The distance of any set from `real` with its interval, which is not known of fewer than four rows."""
    reference, few = _gaussian(features(real, "a Frechet distance", 2), ddof), len(real) <= real.shape[1]

    def distance(fake: Float[np.ndarray, "m d"]) -> float:
        return _distance(reference, _gaussian(fake, ddof))

    def plain(fake: Float[np.ndarray, "m d"]) -> Figure:
        features(fake, "a Frechet distance", 2)
        interval = interval_of_halves(distance, fake, seed=seed) if len(fake) >= 4 else (np.nan, np.nan)
        flags = ("rank-deficient",) if few or len(fake) <= fake.shape[1] else ()
        return Figure(distance(fake), max(0.0, interval[0]), interval[1], flags)

    return plain
