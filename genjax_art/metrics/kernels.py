"""Kernel distances between two sets of feature vectors (maximum mean discrepancies), unbiased, from all pairs.

Gretton et al. 2012, "A kernel two-sample test". Inner products are of centred features in float32; what centring took
away is put back in float64, in which kernels are evaluated and summed.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from genjax_art.metrics.bootstrap import interval_of_means
from genjax_art.metrics.row import Figure, Row, row
from genjax_art.metrics.stream import Block, Fold, chunks, evenly, features, frame_of, sweep
from genjax_art.metrics.subject import Subject

# (scaled product of centred rows, what the row adds, what the column adds) -> the kernel
Kernel = Callable[[Any, Any, Any], Any]
CLOSE = 1e4  # squared distances from the centre over 2 s^2: of more, a ten-millionth, float32's step, changes a kernel


@dataclass(frozen=True)
class Discrepancy:
    """`value` is the squared MMD; its mean over samples of both sets is 0 where the distributions are one.

    `of_x` and `of_y` say how much each example adds, to first order: `value` plus the means of resampled `of_x` and
    `of_y` is a bootstrap replicate. Both have mean 0.
    """

    value: float
    of_x: Float64[np.ndarray, " n"]
    of_y: Float64[np.ndarray, " m"]


def kid(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Discrepancy:
    """The kernel distance with k(a, b) = (a.b / d + 1)^3, of all pairs at once (Binkowski et al. 2018,
    arXiv:1801.01401).

    Of the features of Inception v3 it is the KID; the published ones are means over subsets of 1,000, which have the
    same expectation and a larger variance.

    Raises:
      ValueError: fewer than two rows, or features that are not finite.
    """
    return _discrepancy(_cubic, _offset, 1.0 / x.shape[1], x, y)


def mmd_rbf(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], bandwidth: float | None = None) -> Discrepancy:
    """The kernel distance with k(a, b) = exp(-|a - b|^2 / 2 s^2), between 0 and 2 but for its noise around 0.

    Args:
      bandwidth: s, in units of the features; by default the median distance of pairs of `x` (of 1,000 rows, evenly
        chosen), which depends on the real set x alone, so that models can be compared.

    Raises:
      ValueError: fewer than two rows, features that are not finite, or a bandwidth that is not positive.
    """
    features(x, "a kernel distance", 2)
    scale = median_distance(x) if bandwidth is None else bandwidth
    if not 0 < scale < np.inf:
        raise ValueError(f"an RBF kernel needs a positive bandwidth, got {scale:g}: are all features the same?")
    return _discrepancy(_radial, _distance_to_centre, 1.0 / (2.0 * scale**2), x, y)


def median_distance(x: Float[np.ndarray, "n d"], most: int = 1000) -> float:
    """The median distance of pairs among `most` rows of `x`, evenly chosen."""
    some = x[evenly(len(x), most)].astype(np.float64)
    some = some - some.mean(0)
    squares = np.sum(some**2, 1)[:, None] - 2.0 * some @ some.T + np.sum(some**2, 1)[None, :]
    return float(np.sqrt(np.median(np.maximum(squares[np.triu_indices(len(some), 1)], 0.0))))


def _cubic(product: Any, row: Any, column: Any) -> Any:
    return (product + row + column + 1.0) ** 3


def _offset(part: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """a.b = centred a . centred b + (a.c - c.c / 2) + (b.c - c.c / 2), with c the centre."""
    return part @ centre - 0.5 * (centre @ centre)


def _radial(product: Any, row: Any, column: Any) -> Any:
    return jnp.exp(-jnp.maximum(row + column - 2.0 * product, 0.0))


def _distance_to_centre(part: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.sum((part - centre) ** 2, 1)


Share = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (rows, centre) -> what each row adds, before gamma


def _discrepancy(kernel: Kernel, share: Share, gamma: float, x: np.ndarray, y: np.ndarray) -> Discrepancy:
    features(x, "a kernel distance", 2)
    features(y, "a kernel distance", 2)
    n, m = len(x), len(y)
    # each pair of sets in a frame of its own: a set that is small beside the other's distance keeps its digits
    own_x, _ = _sums(kernel, share, gamma, x, x, others=True)
    own_y, _ = _sums(kernel, share, gamma, y, y, others=True)
    cross_x, cross_y = _sums(kernel, share, gamma, x, y, others=False)
    with np.errstate(over="ignore", invalid="ignore"):
        own_x, own_y, cross_x, cross_y = own_x / (n - 1), own_y / (m - 1), cross_x / m, cross_y / n
        value = own_x.mean() + own_y.mean() - cross_x.mean() - cross_y.mean()
    if not np.isfinite(value):
        raise ValueError("a kernel of such large features has no room in float64: scale them down")
    # the Hajek projection: derivatives by an example's weight
    of_x, of_y = 2.0 * (own_x - cross_x), 2.0 * (own_y - cross_y)
    return Discrepancy(float(value), of_x - of_x.mean(), of_y - of_y.mean())


def _sums(
    kernel: Kernel,
    share: Share,
    gamma: float,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    *,
    others: bool,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]]:
    """Sums of the kernel over each row and each column of the matrix of all pairs, without those of a row with itself
    where x and y are one set (`others`)."""
    frame = frame_of(x, y)
    if kernel is _radial and gamma * frame.unit**2 * x.shape[1] > CLOSE:
        frame = frame._replace(dtype=np.float64)  # near ones would be taken for farther apart than they are
    of_x, of_y = (gamma * np.concatenate([share(part, frame.centre) for part in chunks(rows)]) for rows in (x, y))
    scale = np.full(len(x), gamma * frame.unit**2)
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    with jax.enable_x64(True):
        for some, total, _, sums in sweep(_sum_fold(kernel, others), _sum_start, frame, x, y, (of_x, scale), (of_y,)):
            rows[some] = total
            columns += sums
    return rows, columns


def _sum_start(rows: int) -> Any:
    return jnp.zeros(rows, jnp.float64)


@functools.cache
def _sum_fold(kernel: Kernel, others: bool) -> Fold:
    def fold(carry: Any, block: Block) -> tuple[Any, Any, Any]:
        (of_row, scale), (of_column,) = block.per_row, block.per_column
        product = scale[:, None] * block.product.astype(jnp.float64)
        pairs = block.there() & block.others() if others else block.there()
        value = jnp.where(pairs, kernel(product, of_row[:, None], of_column[None, :]), 0.0)
        return carry + jnp.sum(value, 1), (), jnp.sum(value, 0)

    return fold


def measure(subject: Subject) -> dict[str, Row]:
    """The kernel distances of samples from the training data: cubic, and Gaussian of the median distance's width."""
    seen, width = subject.seen, median_distance(subject.seen.reference)

    def figure(of: Callable[[Any], Discrepancy]) -> Callable[[Any], Figure]:
        def measured(fake: Float[np.ndarray, "m d"]) -> Figure:
            found = of(fake)
            interval = interval_of_means(lambda x, y: found.value + x + y, found.of_x, found.of_y, seed=subject.seed)
            return Figure(found.value, *interval)

        return measured

    name = seen.extractor.figure("KD")
    cubic, radial = (
        figure(lambda fake: kid(seen.reference, fake)),
        figure(lambda fake: mmd_rbf(seen.reference, fake, width)),
    )
    return {
        name: row(seen, name, cubic, better="low", seed=subject.seed),
        "MMD-RBF": row(seen, "MMD-RBF", radial, better="low", seed=subject.seed),
    }
