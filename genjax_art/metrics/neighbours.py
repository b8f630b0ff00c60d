"""Nearest neighbours and balls among feature vectors, exact, in blocks.

float32 proposes, float64 decides: blockwise passes (`stream.py`) find candidates and whatever is too near a boundary
for float32, with a bound on its error; differences in float64 then settle those few pairs. So ties are ties, near
copies keep their small distances, and counts equal those of a full matrix in float64.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64

from genjax_art.metrics.stream import (
    Block,
    Fold,
    Frame,
    Half,
    chunks,
    features,
    frame_of,
    lost,
    pairs_of,
    sweep,
    sweep_half,
)

SPARE = 3  # candidates more than asked for: where float32 has two of them the wrong way round, float64 sees both
GROUP = 32  # columns of which only the least is looked at first
NOWHERE = np.iinfo(np.int32).max  # the number of a column that is none
WIDE = 1024  # features from which on the products take most of the time
PAIRS = 1 << 16  # numbers of differences in float64 at once: what stays in a core's cache

# (numpy or jax.numpy, squared distance, the column's value) -> the score that is to be small; never falls with distance
Score = Callable[[Any, Any, Any], Any]


def nearest(
    queries: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"], k: int
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """Euclidean distances, rising, from each query to its k nearest rows of `reference`, and their numbers.

    Raises:
      ValueError: fewer than k rows of `reference`, no queries, or features that are not finite.
    """
    score, index, unit = least(_by_distance, queries, reference, np.zeros(len(reference)), k)
    return np.sqrt(score) * unit, index


def nearest_others(x: Float[np.ndarray, "n d"], k: int) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """`nearest` among the other rows of the same set: a row is left out by its number, so its copies do count.

    Raises:
      ValueError: fewer than k + 1 rows, or features that are not finite.
    """
    if x.shape[1] < WIDE:
        score, index, unit = least(_by_distance, x, x, np.zeros(len(x)), k, others=True)
        return np.sqrt(score) * unit, index
    return _of_pairs_made_once(x, k)


def _of_pairs_made_once(
    x: Float[np.ndarray, "n d"], k: int
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """`nearest_others` by half the products and twice the choosing."""
    features(x, "a search for neighbours", k + 1)
    frame, spare = frame_of(x), min(k + SPARE, len(x))
    found, index = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    pool = _Pool(_by_distance, frame, x, x, np.zeros(len(x)), others=True)
    waiting = (np.full((len(x), spare), np.inf, np.float32), np.full((len(x), spare), NOWHERE, np.int32))
    for some, own, columns in sweep_half(_others_fold(spare), _start(spare), frame, x):
        least_of, number_of = _merged([(waiting[0][some], waiting[1][some]), own], spare)
        pool.settle(some, least_of[:, -1], number_of, found, index)
        later = slice(some.stop, None)
        given = [(value[later], number[later]) for value, number in zip(*columns, strict=True)]
        waiting[0][later], waiting[1][later] = _merged([(waiting[0][later], waiting[1][later]), *given], spare)
    return np.sqrt(found) * frame.unit, index


Ranked = tuple[Float[np.ndarray, "n c"], Int[np.ndarray, "n c"]]  # scores and the numbers that have them


def _merged(parts: Sequence[Ranked], k: int) -> Ranked:
    """The k least of all parts, rising; of equal scores the lower numbers first."""
    value, number = (np.concatenate(both, 1) for both in zip(*parts, strict=True))
    order = np.lexsort((number, value), axis=1)[:, :k]
    return np.take_along_axis(value, order, 1), np.take_along_axis(number, order, 1)


def _by_distance(xp: Any, square: Any, value: Any) -> Any:
    return square


def ball_radii(x: Float[np.ndarray, "n d"], ks: Sequence[int]) -> Float64[np.ndarray, "n r"]:
    """The distance from each row to its k-th neighbour, for each k: by far the dearest part of measures by balls, so
    whoever takes several of one set makes it once."""
    return nearest_others(x, max(ks))[0][:, np.asarray(ks) - 1]


def least(
    score: Score,
    queries: Float[np.ndarray, "n d"],
    reference: Float[np.ndarray, "m d"],
    values: Float64[np.ndarray, " m"],
    k: int,
    *,
    others: bool = False,
    per_unit: float = 0.0,
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"], float]:
    """The k columns of least `score` of each query: scores, numbers, and the unit that distances were divided by.

    Args:
      values: one for each column; multiplied by unit^`per_unit` before a score sees it.

      others: both sets are one, and no row counts as its own neighbour.

    Raises:
      ValueError: too few columns, no queries, or features that are not finite.
    """
    features(queries, "a search for neighbours")
    features(reference, "a search for neighbours", k + others)
    frame = frame_of(reference, queries)
    values = values * frame.unit**per_unit
    spare = min(k + SPARE, len(reference))
    fold, column = _least_fold(score, spare, others), values.astype(np.float32)
    passes = sweep(fold, _start(spare), frame, queries, reference, (), (column,))
    found, index = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    pool = _Pool(score, frame, queries, reference, values, others)
    for some, (bound, candidates), _, _ in passes:
        pool.settle(some, bound[:, -1], candidates, found, index)
    return found, index, frame.unit


@functools.cache
def _start(k: int) -> Callable[[int], Any]:
    return lambda rows: (jnp.full((rows, k), jnp.inf, jnp.float32), jnp.full((rows, k), NOWHERE, jnp.int32))


@functools.cache
def _least_fold(score: Score, k: int, others: bool) -> Fold:
    def fold(carry: Any, block: Block) -> tuple[Any, Any, Any]:
        # the least that each score can be, by which the columns are ranked
        low = score(jnp, jnp.maximum(block.squared(-1.0), 0.0), block.per_column[0][None, :])
        hidden = [jnp.isinf(block.column_squares)[None, :], *([~block.others()] if others else [])]
        value, place = _top(jnp.where(functools.reduce(jnp.logical_or, hidden), jnp.inf, low), k)
        return _least_of(carry, (value, block.columns[place]), k), (), ()

    return fold


def _least_of(some: Any, more: Any, k: int) -> tuple[Float[Array, "r k"], Int[Array, "r k"]]:
    values, numbers = (jnp.concatenate(both, 1) for both in zip(some, more, strict=True))
    kept, order = jax.lax.top_k(-values, k)
    return -kept, jnp.take_along_axis(numbers, order, 1)


@functools.cache
def _others_fold(k: int) -> Half:
    def fold(carry: Any, block: Block, begin: Array, end: Array) -> tuple[Any, Any]:
        # infinite where one of the pair is padding
        low = jnp.where(block.others(), jnp.maximum(block.squared(-1.0), 0.0), jnp.inf)
        new = jnp.where((block.columns >= begin)[None, :], low, jnp.inf)
        carry = _least_of(carry, _numbered(*_top(new, k), block.columns), k)
        given = jnp.where((block.columns >= end)[None, :], low, jnp.inf).T
        value, row = _numbered(*_top(given, k), block.rows)
        few = ((0, 0), (0, k - value.shape[1]))  # where a chunk has fewer rows
        return carry, (jnp.pad(value, few, constant_values=jnp.inf), jnp.pad(row, few, constant_values=NOWHERE))

    return fold


def _numbered(value: Array, place: Array, numbers: Array) -> tuple[Float[Array, "r k"], Int[Array, "r k"]]:
    """Scores with the numbers of their places; infinite ones are nowhere, so that no pair is there twice."""
    return value, jnp.where(jnp.isinf(value), NOWHERE, numbers[place])


def _top(x: Float[Array, "r c"], k: int) -> tuple[Float[Array, "r k"], Int[Array, "r k"]]:
    """The k least of each row and their places, or all where there are fewer.

    A full selection is slow. The k least lie in the k groups with the least minima: one quick pass makes those minima.
    """
    r, c = x.shape
    groups = c // GROUP
    if c % GROUP or groups < 2 * k:
        value, place = jax.lax.top_k(-x, min(k, c))
        return -value, place
    grouped = x.reshape(r, GROUP, groups)
    _, chosen = jax.lax.top_k(-jnp.min(grouped, 1), k)
    members = jnp.take_along_axis(grouped, chosen[:, None, :], 2).reshape(r, GROUP * k)
    places = jnp.arange(GROUP, dtype=jnp.int32)[None, :, None] * groups + chosen[:, None, :]
    value, order = jax.lax.top_k(-members, k)
    return -value, jnp.take_along_axis(places.reshape(r, GROUP * k), order, 1)


@dataclass(frozen=True)
class _Pool:
    """What scores in float64 are made of."""

    score: Score
    frame: Frame
    queries: np.ndarray
    reference: np.ndarray
    values: np.ndarray
    others: bool

    def settle(
        self,
        some: slice,
        bound: Float[np.ndarray, " n"],
        candidates: Int[np.ndarray, "n c"],
        found: Float64[np.ndarray, "m k"],
        index: Int64[np.ndarray, "m k"],
    ) -> None:
        """Fills in the k least of some rows. A column that is no candidate scores `bound` or more: where that is below
        the k-th, one may be missing."""
        rows, k = np.arange(some.start, some.stop), found.shape[1]
        best, which = self.settled(rows, candidates)
        found[some], index[some] = best[:, :k], which[:, :k]
        for row in rows[bound < best[:, k - 1]]:
            found[row], index[row] = self.of_row(int(row), k, candidates.shape[1])

    def settled(
        self, rows: Int[np.ndarray, " n"], candidates: Int[np.ndarray, "n c"]
    ) -> tuple[Float64[np.ndarray, "n c"], Int64[np.ndarray, "n c"]]:
        """The scores of the candidates, rising, with their numbers."""
        index = np.minimum(candidates, len(self.reference) - 1).astype(np.int64)
        square = pair_squares(self.frame, self.queries, self.reference, rows, index)
        hidden = candidates >= len(self.reference)
        if self.others:
            hidden |= rows[:, None] == index
        exact = np.where(hidden, np.inf, self.score(np, square, self.values[index]))
        order = np.argsort(exact, axis=1, kind="stable")
        return np.take_along_axis(exact, order, 1), np.take_along_axis(index, order, 1)

    def of_row(self, row: int, k: int, spare: int) -> tuple[Float64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
        """The k least of a row that float32 cannot settle, as in a collapse: the same game in float64, then all."""
        low = self._bounds(row)
        likely = np.argpartition(low, spare - 1)[:spare]
        best, which = self.settled(np.asarray([row]), likely[None])
        if low[likely].max() < best[0, k - 1]:
            best, which = self.settled(np.asarray([row]), np.arange(len(self.reference))[None])
        return best[0, :k], which[0, :k]

    def _bounds(self, row: int) -> Float64[np.ndarray, " m"]:
        centre, unit = self.frame.centre, self.frame.unit
        x = (self.queries[row].astype(np.float64) - centre) / unit
        low, slack = [], lost(len(x), np.finfo(np.float64).eps)
        for part in chunks(self.reference):
            y = (part - centre) / unit
            norms = x @ x + np.sum(y**2, 1)
            low.append(np.maximum((1.0 - slack) * norms - 2.0 * y @ x, 0.0))
        return self.score(np, np.concatenate(low), self.values)


def pair_squares(
    frame: Frame,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    rows: Int[np.ndarray, " p"],
    columns: Int[np.ndarray, "p c"],
) -> Float64[np.ndarray, "p c"]:
    """Squared distances from some rows of x to c rows of y each, in the frame's unit, by differences in float64: exact
    for near copies, too."""
    result = np.empty(columns.shape)
    extreme = not 1e-100 < frame.unit < 1e100  # squares have no room; else one division of each will do
    step = max(1, PAIRS // (columns.shape[1] * x.shape[1]))
    apart = np.empty((step, columns.shape[1], x.shape[1]))  # one for all: fresh memory costs more than the sums
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        some = apart[: len(rows[part])]
        np.subtract(y[columns[part]], x[rows[part], None], out=some, dtype=np.float64)
        if extreme:
            some /= frame.unit
        np.einsum("pcd,pcd->pc", some, some, out=result[part])
    return result if extreme else result / frame.unit**2


def cross_balls(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    radii_x: Float64[np.ndarray, "n r"],
    radii_y: Float64[np.ndarray, "m r"],
    *,
    closed: bool = True,
) -> tuple[Int64[np.ndarray, "n r"], Int64[np.ndarray, "m r"], Int64[np.ndarray, "n r"], Int64[np.ndarray, "m r"]]:
    """Balls around the rows of `x` and of `y`, of r radii each, and which rows of the other set lie in them.

    Returns, each for every radius: how many of y lie in the ball of a row of x; in how many balls of x a row of y lies;
    in how many balls of y a row of x lies; how many of x lie in the ball of a row of y. One pass over all pairs.

    Args:
      closed: a row on the surface is inside (<=).

    Raises:
      ValueError: an empty set, more than four radii, or features that are not finite.
    """
    count = radii_x.shape[1]
    if not 1 <= count <= 4:
        raise ValueError(f"balls have one to four radii at once, got {count}")
    features(x, "a count of balls")
    features(y, "a count of balls")
    frame = frame_of(x, y)
    limits = [np.where(r >= 0, (r / frame.unit) ** 2, -np.inf).astype(np.float32) for r in (radii_x, radii_y)]
    rows = np.zeros((len(x), 2 * count), np.int64)
    columns = np.zeros((2 * count, len(y)), np.int64)
    for some, (sure, doubts), unsure, sums in sweep(
        _ball_fold, _ball_start(2 * count), frame, x, y, (limits[0],), (limits[1],)
    ):
        rows[some] = sure
        columns += np.stack(sums)
        where = np.flatnonzero(doubts)
        if not len(where):
            continue
        codes = pairs_of(unsure, where)[:, : len(y)]
        row, column = np.nonzero(codes)
        code, row = codes[row, column], some.start + where[row]
        # of distances, not of squares: the square of a root is another number, and a tie would be none
        apart = np.sqrt(pair_squares(frame, x, y, row, column[:, None])) * frame.unit
        radius = np.concatenate([radii_x[row], radii_y[column]], 1)
        inside = apart <= radius if closed else apart < radius
        inside &= (code[:, None] >> np.arange(2 * count)) & 1 == 1
        np.add.at(rows, row, inside)
        np.add.at(columns.T, column, inside)
    return rows[:, :count], columns[:count].T, rows[:, count:], columns[count:].T


@functools.cache
def _ball_start(count: int) -> Callable[[int], Any]:
    return lambda rows: (jnp.zeros((rows, count), jnp.int32), jnp.zeros(rows, jnp.int32))


def _ball_fold(carry: Any, block: Block) -> tuple[Any, Any, Any]:
    (radii_x,), (radii_y,) = block.per_row, block.per_column
    limits = [limit[:, None] for limit in radii_x.T] + [limit[None, :] for limit in radii_y.T]
    most, least = block.squared(1.0), block.squared(-1.0)
    sure = [most < limit for limit in limits]
    unsure = [(least <= limit) & ~inside for limit, inside in zip(limits, sure, strict=True)]
    code = functools.reduce(jnp.bitwise_or, (doubt.astype(jnp.uint8) << i for i, doubt in enumerate(unsure)))
    counts = jnp.stack([jnp.sum(inside, 1, dtype=jnp.int32) for inside in sure], 1)
    doubts = jnp.sum(code > 0, 1, dtype=jnp.int32)
    sums = tuple(jnp.sum(inside, 0, dtype=jnp.int32) for inside in sure)
    return (carry[0] + counts, carry[1] + doubts), code, sums
