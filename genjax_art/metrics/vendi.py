"""The Vendi score: how many different examples a set is worth."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float64

from genjax_art.metrics.bootstrap import interval_of_halves
from genjax_art.metrics.row import Figure, Row, row
from genjax_art.metrics.stream import chunks, features, mean_of
from genjax_art.metrics.subject import Subject


def vendi(x: Float[np.ndarray, "n d"], order: float | int = 1) -> float:
    """exp of the Renyi entropy of the eigenvalues of K / n, with K the cosines of all pairs: 1 where all rows point one
    way, n where all are orthogonal, never more than d (Friedman & Dieng 2022, arXiv:2210.02410).

    Order 1 is the Shannon entropy; 2 and infinity see common directions more and rare ones less (Pasarkar & Dieng 2023,
    arXiv:2310.12952). K / n and the d x d matrix X'X / n have the same eigenvalues but zeros: the smaller is taken.
    Compare sets of the same size, and a set with held-out data: of features with a large common part it is small.

    Raises:
      ValueError: an order that is negative, no rows, a row of zeros (which has no direction), or features that are not
        finite.
    """
    if not order >= 0:
        raise ValueError(f"the order of a Vendi score is at least 0, got {order:g}")
    return float(np.exp(_entropy(spectrum(x), order)))


def spectrum(x: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " r"]:
    """The eigenvalues of the cosines of all pairs over n: not negative, of sum 1.

    Raises:
      ValueError: no rows, a row of zeros, or features that are not finite.
    """
    features(x, "a Vendi score")
    n, d = x.shape
    if n <= d:
        rows = _directions(x.astype(np.float64))
        values = np.linalg.eigvalsh(rows @ rows.T / n)
    else:
        values = np.linalg.eigvalsh(sum(r.T @ r for r in map(_directions, chunks(x))) / n)
    # rounding leaves some below 0, and zeros above it, whose number would count in order 0
    values = np.where(values > max(n, d) * np.finfo(np.float64).eps * values[-1], values, 0.0)
    return values / values.sum()


def _directions(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    largest = np.abs(x).max(1, keepdims=True)  # first, so that squares neither overflow nor vanish
    if not largest.all():
        raise ValueError("a Vendi score needs features with a direction: a row is all zeros")
    x = x / largest
    return x / np.sqrt(np.sum(x**2, 1, keepdims=True))


def _entropy(p: Float64[np.ndarray, " r"], order: float | int) -> float:
    p = p[p > 0]
    if order == 1:
        return float(-np.sum(p * np.log(p)))
    if order == np.inf:
        return float(-np.log(p.max()))
    top = p.max()  # taken out, so that high powers of small shares do not vanish
    return float((order * np.log(top) + np.log(np.sum((p / top) ** order))) / (1.0 - order))


def measure(subject: Subject) -> dict[str, Row]:
    """How many different examples the samples are worth: of orders 1, 2 and infinity, seen from the data's middle."""
    seen = subject.seen
    centre = mean_of(seen.reference)

    def of(order: float) -> Callable[[Float[np.ndarray, "n d"]], Figure]:
        def figure(x: Float[np.ndarray, "n d"]) -> Figure:
            def score(x: Float[np.ndarray, "n d"]) -> float:
                return vendi(x - centre, order)

            return Figure(score(x), *interval_of_halves(score, x, seed=subject.seed))

        return figure

    names = {"Vendi": 1.0, "Vendi-2": 2.0, "Vendi-infinity": np.inf}
    return {
        name: row(seen, name, of(order), better="high", unit="examples", seed=subject.seed)
        for name, order in names.items()
    }
