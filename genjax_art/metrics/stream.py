"""All pairs of two sets of feature vectors, or of one, in blocks: what an N x N array would hold is seen and let go.

Rows come in chunks, shared by the devices; the columns of a chunk in blocks, one after another. At 512 rows a device
and 2,048 columns a block of pairs is 4 MB, whatever the sets' sizes.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Shaped

ROWS, COLUMNS = 512, 2048
LARGEST = 1e150  # squares of larger features have no room in float64
_AXIS = "rows"


def features(x: Float[np.ndarray, "n d"], what: str, least: int = 1) -> Float[np.ndarray, "n d"]:
    """`x` itself, if it can be measured.

    Raises:
      ValueError: fewer than `least` rows, no columns, or numbers that are not finite and below 1e150.
    """
    if len(x) < least or not x.shape[1]:
        raise ValueError(f"{what} needs finite features, {least} rows of them or more, got shape {x.shape}")
    if not (float(x.min()) >= -LARGEST and float(x.max()) <= LARGEST):  # false for NaN as well
        raise ValueError(f"{what} needs finite features below {LARGEST:g} in size")
    return x


def chunks(x: Float[np.ndarray, "n d"], rows: int = ROWS) -> Iterator[Float[np.ndarray, "_ d"]]:
    """The rows of `x` in float64, some at a time, so that a copy of the whole in float64 is never made."""
    for begin in range(0, len(x), rows):
        yield x[begin : begin + rows].astype(np.float64)


def evenly(count: int, most: int) -> Int[np.ndarray, " n"]:
    """Numbers from 0 to count - 1, evenly chosen: all of them, or `most`, one of each of so many equal stretches.

    Where in its stretch is left to chance, the same each time: equal steps would meet only some classes of data whose
    classes come in turn.
    """
    edges = np.arange(min(most, count) + 1) * count // min(most, count)
    chance = np.random.default_rng(0).random(len(edges) - 1)
    return (edges[:-1] + np.floor(chance * np.diff(edges))).astype(np.int64)


def mean_of(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean row, in float64."""
    return np.asarray(np.sum(x, 0, dtype=np.float64) / len(x))


class Frame(NamedTuple):
    """Where float32 (or `dtype`) counts from, and its unit: centred features of at most 1 lose least, and never
    overflow."""

    centre: Float[np.ndarray, " d"]
    unit: float  # a power of two, so that dividing by it is exact
    dtype: type[np.float32] | type[np.float64] = np.float32  # of products; float64 under `jax.enable_x64`

    def within(self, x: Float[np.ndarray, "n d"], rows: int | None = None) -> Float[np.ndarray, "m d"]:
        """`x` in this frame; with `rows`, that many, by rows of zeros at the end."""
        framed = _aligned((len(x) if rows is None else rows, x.shape[1]), self.dtype)
        for begin in range(0, len(x), ROWS):
            part = x[begin : begin + ROWS].astype(np.float64)
            framed[begin : begin + len(part)] = (part - self.centre) / self.unit
        return framed


def _aligned(shape: tuple[int, int], dtype: type[np.float32] | type[np.float64]) -> Float[np.ndarray, "n d"]:
    """Zeros that begin at a multiple of 64 bytes: JAX on CPU takes such an array as it is, without a copy."""
    count = shape[0] * shape[1]
    room = np.zeros(count + 16, dtype)
    first = -(room.ctypes.data // room.itemsize) % (64 // room.itemsize)
    return room[first : first + count].reshape(shape)


def frame_of(reference: Float[np.ndarray, "n d"], *others: Float[np.ndarray, "_ d"]) -> Frame:
    """The frame at the mean of `reference` in which all sets lie within [-1, 1]."""
    centre = mean_of(reference)
    largest = max(np.maximum(x.max(0) - centre, centre - x.min(0)).max() for x in (reference, *others))
    return Frame(centre, float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0)


class Block(NamedTuple):
    """Some rows (queries) beside some columns (references): inner products and norms, of which distances are made."""

    product: Float[Array, "r c"]
    row_squares: Float[Array, " r"]  # infinite for padding, as is
    column_squares: Float[Array, " c"]
    slack: float  # what float32 may lose of a squared distance, over the sum of the squares
    rows: Int[Array, " r"]  # their places in the whole set
    columns: Int[Array, " c"]
    per_row: tuple[Array, ...]
    per_column: tuple[Array, ...]

    def squared(self, slack: float) -> Float[Array, "r c"]:
        """Squared distances, infinite for padding, and beyond by `slack` times what float32 may lose: with -1 never
        above the true ones, with 1 never below."""
        share = 1.0 + slack * self.slack
        return share * self.row_squares[:, None] + (share * self.column_squares[None, :] - 2.0 * self.product)

    def there(self) -> Bool[Array, "r c"]:
        """False where the row or the column is padding."""
        return jnp.isfinite(self.row_squares)[:, None] & jnp.isfinite(self.column_squares)[None, :]

    def others(self) -> Bool[Array, "r c"]:
        """False where the row and the column are the same example of one set."""
        return self.rows[:, None] != self.columns[None, :]


def lost(width: int, eps: float) -> float:
    """How much a sum of squares of `width` numbers may be wrong, relative to it.

    Sums of d products round like a random walk, by about sqrt(d) units in the last place; the second term is for the
    rounding of the features themselves and of what distances are compared with.
    """
    return float((width**0.5 + 8.0) * eps)


Fold = Callable[[Any, Block], tuple[Any, Any, Any]]


def sweep(
    fold: Fold,
    start: Callable[[int], Any],
    frame: Frame,
    queries: Float[np.ndarray, "n d"],
    reference: Float[np.ndarray, "m d"],
    per_query: tuple[np.ndarray, ...] = (),
    per_reference: tuple[np.ndarray, ...] = (),
) -> Iterator[tuple[slice, Any, Any, Any]]:
    """All pairs once. For each chunk of rows: which rows, their carry, what is kept of pairs, and sums of columns.

    Args:
      fold: (carry, block) -> (carry, pairs, columns), compiled. The carry is per row, as is what `start` makes of a
        number of rows; `pairs` a tree of [r, c] and `columns` one of [c], or () where there is nothing to keep. Give
        the same function object again to have it compiled once. Pairs come as [blocks, rows, c]: see `pairs_of`.
      frame: in which float32 counts.
      per_query, per_reference: arrays with an entry for each row or column, which come with the block.
    """
    n, m = len(queries), len(reference)
    mesh, sharded, everywhere = _placing()
    rows = _rows(n, mesh)
    size = jax.device_put(np.asarray([n, m], np.int32), everywhere)  # lets go of a sweep before, so comes first
    known = _blocked(frame, reference, per_reference, everywhere)

    def begin(some: slice) -> Any:
        own = [frame.within(queries[some], rows), *(_padded(x[some], rows) for x in per_query)]
        place = np.arange(some.start, some.start + rows, dtype=np.int32)
        return _compiled(fold, start, mesh)(size, jax.device_put([place, *own], sharded), known)

    for some, (carry, pairs, sums) in _in_turn(begin, n, rows):
        yield (
            some,
            jax.tree.map(lambda x, count=some.stop - some.start: np.asarray(x)[:count], carry),
            jax.tree.map(np.asarray, pairs),
            jax.tree.map(lambda x: np.asarray(x).reshape(mesh.size, -1).sum(0)[:m], sums),
        )


# (carry, block, begin, end) -> (carry, columns); the chunk has the rows `begin` to `end` - 1
Half = Callable[[Any, Block, Int[Array, ""], Int[Array, ""]], tuple[Any, Any]]


def sweep_half(
    fold: Half, start: Callable[[int], Any], frame: Frame, x: Float[np.ndarray, "n d"]
) -> Iterator[tuple[slice, Any, Any]]:
    """All pairs of one set, each once: rows come in chunks as in `sweep`, and a chunk is shown only the blocks of
    columns that reach its first row or lie after it. What a chunk finds for later rows it gives to them as columns.

    So of the products, which take most of the time where features are many, half are made. Yields for each chunk: which
    rows, their carry, and of each device, first axis, what was found for all columns.

    Args:
      fold: compiled once for each function object. Of a block that begins before the chunk the columns before `begin`
        are not new: their pairs came with earlier chunks.
      start: from a number of rows or of columns to the tree of what is known of them at first.
    """
    n = len(x)
    mesh, sharded, everywhere = _placing()
    rows = _rows(n, mesh)
    size = jax.device_put(np.int32(n), everywhere)  # lets go of a sweep before, so comes first
    (known,) = _blocked(frame, x, (), everywhere)

    def begin(some: slice) -> Any:
        ends = jax.device_put(np.asarray([some.start, some.start + rows], np.int32), everywhere)
        place = np.arange(some.start, some.start + rows, dtype=np.int32)
        own = jax.device_put([place, frame.within(x[some], rows)], sharded)
        return _compiled_half(fold, start, mesh)(size, ends, own, known)

    for some, (carry, columns) in _in_turn(begin, n, rows):
        yield (
            some,
            jax.tree.map(lambda a, count=some.stop - some.start: np.asarray(a)[:count], carry),
            jax.tree.map(lambda a: np.asarray(a).reshape(mesh.size, -1, *a.shape[3:])[:, :n], columns),
        )


def _placing() -> tuple[Mesh, NamedSharding, NamedSharding]:
    """All devices; rows shared among them; the same on each."""
    mesh = Mesh(np.array(jax.local_devices()), (_AXIS,))
    return mesh, NamedSharding(mesh, PartitionSpec(_AXIS)), NamedSharding(mesh, PartitionSpec())


def _rows(n: int, mesh: Mesh) -> int:
    """The rows of a chunk."""
    return mesh.size * _even(-(-n // mesh.size), ROWS, 8)


def _blocked(
    frame: Frame, reference: Float[np.ndarray, "m d"], values: tuple[np.ndarray, ...], where: NamedSharding
) -> list[Array]:
    """The reference and what belongs to its rows, in equal blocks [b, c, ...], on the devices."""
    columns = _even(len(reference), COLUMNS, 64)
    width = -(-len(reference) // columns) * columns
    whole = [frame.within(reference, width), *(_padded(x, width) for x in values)]
    return [jax.device_put(x.reshape(-1, columns, *x.shape[1:]), where) for x in whole]


def _in_turn(begin: Callable[[slice], Any], n: int, rows: int) -> Iterator[tuple[slice, Any]]:
    """What `begin` gives for each chunk: the devices work on the next one while the caller looks at what is done."""
    under_way = slice(0, min(rows, n)), begin(slice(0, min(rows, n)))
    for first in (*range(rows, n, rows), n):
        done = under_way
        if first < n:
            some = slice(first, min(first + rows, n))
            under_way = some, begin(some)
        yield done


def pairs_of(kept: Shaped[np.ndarray, "b r c"], rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n m"]:
    """What was kept of the pairs of some rows of a chunk, block beside block."""
    return kept[:, rows].swapaxes(0, 1).reshape(len(rows), -1)


@functools.cache
def _compiled(fold: Fold, start: Callable[[int], Any], mesh: Mesh) -> Callable[..., Any]:
    def of_device(size: Array, own: list[Array], known: list[Array]) -> Any:
        place, x, *per_row = own
        squares = _squares(x, place, size[0])

        def step(carry: Any, block: tuple[Array, ...]) -> tuple[Any, Any]:
            number, y, *per_column = block
            seen = _beside(x, squares, place, y, number, size[1])
            carry, kept, sums = fold(carry, seen._replace(per_row=tuple(per_row), per_column=tuple(per_column)))
            return carry, (kept, sums)

        numbers = jnp.arange(known[0].shape[0], dtype=jnp.int32)
        carry, (kept, sums) = jax.lax.scan(step, start(x.shape[0]), (numbers, *known))
        return carry, kept, jax.tree.map(lambda a: a[None], sums)

    by_row, everywhere = PartitionSpec(_AXIS), PartitionSpec()
    return jax.jit(
        jax.shard_map(
            of_device,
            mesh=mesh,
            in_specs=(everywhere, by_row, everywhere),
            out_specs=(by_row, PartitionSpec(None, _AXIS), by_row),
            check_vma=False,  # the carry begins without rows of a device
        )
    )


@functools.cache
def _compiled_half(fold: Half, start: Callable[[int], Any], mesh: Mesh) -> Callable[..., Any]:
    def of_device(size: Array, ends: Array, own: list[Array], known: Array) -> Any:
        place, x = own
        blocks, width = known.shape[:2]
        squares = _squares(x, place, size)

        def step(number: Array, state: Any) -> Any:
            carry, found = state
            y = jax.lax.dynamic_index_in_dim(known, number, keepdims=False)
            seen = _beside(x, squares, place, y, number, size)
            carry, own = fold(carry, seen, ends[0], ends[1])
            put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=number, axis=0)
            return carry, jax.tree.map(put, found, own)

        nothing = jax.tree.map(lambda a: jnp.broadcast_to(a, (blocks, *a.shape)), start(width))
        carry, found = jax.lax.fori_loop(ends[0] // width, blocks, step, (start(x.shape[0]), nothing))
        return carry, jax.tree.map(lambda a: a[None], found)

    by_row, everywhere = PartitionSpec(_AXIS), PartitionSpec()
    return jax.jit(
        jax.shard_map(
            of_device,
            mesh=mesh,
            in_specs=(everywhere, everywhere, by_row, everywhere),
            out_specs=(by_row, by_row),
            check_vma=False,  # the carry begins without rows of a device
        )
    )


def _beside(x: Array, squares: Array, place: Array, y: Array, number: Array, size: Array) -> Block:
    """Rows beside the block of columns of that number, of `size` columns in all."""
    columns = number * y.shape[0] + jnp.arange(y.shape[0], dtype=jnp.int32)
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    slack = lost(x.shape[1], float(np.finfo(np.float32).eps))
    return Block(product, squares, _squares(y, columns, size), slack, place, columns, (), ())


def _squares(x: Float[Array, "n d"], place: Int[Array, " n"], size: Int[Array, ""]) -> Float[Array, " n"]:
    return jnp.where(place < size, jnp.sum(x * x, 1), jnp.inf)


def _even(count: int, most: int, multiple: int) -> int:
    """The size of equal parts of `count`, of `most` at the utmost, rounded up: little padding, few shapes."""
    part = -(-count // -(-count // most))
    return -(-part // multiple) * multiple


def _padded(x: np.ndarray, count: int) -> np.ndarray:
    return x if len(x) == count else np.concatenate([x, np.zeros((count - len(x), *x.shape[1:]), x.dtype)])
