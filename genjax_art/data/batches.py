"""From a source to an endless stream of batches: order, shares of processes, prefetching.

The n-th global batch is a pure function of (seed, n), so nothing of the input pipeline needs a checkpoint:
to resume at step k, start at batch k. Grain maps and prefetches. The order is drawn here, an epoch at once:
Grain's own shuffle takes 5 to 18 us an example, and is no permutation for every length (grain 0.2.18 repeats
an example where there are 65,537). Rows are gathered by one vectorised `take` a batch.
"""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache, partial

import grain
import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from genjax_art.data.contract import DataError, Source
from genjax_art.spec import ArraySpec

Orders = Callable[[int], Int64[np.ndarray, " n"]]  # of an epoch


def to_range(x: UInt8[np.ndarray, "..."] | Float32[np.ndarray, "..."], spec: ArraySpec) -> Float32[np.ndarray, "..."]:
    """uint8 levels to float32, 0 and 255 becoming exactly `spec.low` and `spec.high`; float passes."""
    if x.dtype == np.float32:
        return x
    y = x.astype(np.float32)
    y /= np.float32(255 / (spec.high - spec.low))
    y += np.float32(spec.low)
    return y


def batch_indices(
    length: int,
    *,
    batch_size: int,
    seed: int,
    n: int,
    process_index: int = 0,
    process_count: int = 1,
    orders: Orders | None = None,
) -> Int64[np.ndarray, " b"]:
    """Which examples, of `length`, are in this process's rows of the `n`-th global batch.

    Global batches cut an endless row of epochs into pieces of `batch_size`; each epoch is its own permutation
    of all examples. Process p has the p-th block of consecutive rows. `orders` (by default `epoch_order`) has them.
    """
    orders = orders or partial(epoch_order, length, seed)
    rows = batch_size // process_count
    first = n * batch_size + process_index * rows
    epochs, positions = np.divmod(np.arange(first, first + rows), length)
    indices = np.empty(rows, np.int64)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        indices[chosen] = orders(int(epoch))[positions[chosen]]
    return indices


def orders_of(length: int, seed: int) -> Orders:
    """`epoch_order` of one stream, which keeps its last two, however many other streams there are."""
    return lru_cache(maxsize=2)(partial(epoch_order, length, seed))


@lru_cache(maxsize=4)  # a batch straddles two epochs; 8 bytes an example each
def epoch_order(length: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """The order of all `length` examples in one epoch: a permutation of its own for each (seed, epoch).

    Made by sorting raw bits, which NumPy keeps the same between versions (it does not promise so for
    `permutation`): a run may be resumed years later.
    """
    bits = np.random.PCG64(np.random.SeedSequence((seed, epoch))).random_raw(length)
    order = np.argsort(bits, kind="stable")
    order.flags.writeable = False  # shared by everybody who asks
    return order


def batch_at(
    source: Source, n: int, *, batch_size: int, seed: int, process_index: int = 0, process_count: int = 1
) -> dict[str, np.ndarray]:
    """This process's rows of the `n`-th global batch: "x" (float32 in the range of the spec), "label"."""
    indices = batch_indices(
        len(source),
        batch_size=batch_size,
        seed=seed,
        n=n,
        process_index=process_index,
        process_count=process_count,
    )
    return _gather(source, indices)


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 2,
) -> Generator[dict[str, np.ndarray], None, None]:
    """This process's rows of the global batches `start`, `start + 1`, ... without end: see `batch_at`.

    `batch_size` is that of the global batch and may exceed the data set (examples then repeat). `prefetch`
    batches are made ahead in one thread (0: none); closing the iterator ends the thread.
    Raises DataError on an impossible batch size, seed, start or share.
    """
    if batch_size < 1 or batch_size % process_count:
        raise DataError(f"batch size {batch_size} must be a positive multiple of the {process_count} process(es)")
    if not 0 <= process_index < process_count:
        raise DataError(f"process index {process_index} must lie in 0 to {process_count - 1}")
    if seed < 0 or start < 0 or prefetch < 0:
        raise DataError(f"seed {seed}, start {start} and prefetch {prefetch} must not be negative")
    order = _Order(len(source), batch_size, seed, start, process_index, process_count, orders_of(len(source), seed))
    dataset = grain.MapDataset.source(order).map(lambda indices: _gather(source, indices))
    threads = 1 if prefetch else 0  # a second one would only fight the step for the cores
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return _closing(dataset.to_iter_dataset(options))


def row_numbers(
    length: int, *, batch_size: int, seed: int, start: int = 0
) -> Generator[dict[str, Int32[np.ndarray, " b"]], None, None]:
    """The numbers of the rows of the global batches `start`, `start + 1`, ... without end, as `rows`."""
    n, orders = start, orders_of(length, seed)
    while True:
        rows = batch_indices(length, batch_size=batch_size, seed=seed, n=n, orders=orders)
        yield {"rows": rows.astype(np.int32)}
        n += 1


def _closing(dataset: grain.IterDataset) -> Generator[dict[str, np.ndarray], None, None]:
    iterator = iter(dataset)
    try:
        yield from iterator
    finally:
        iterator.close()


def _gather(source: Source, indices: Int64[np.ndarray, " b"]) -> dict[str, np.ndarray]:
    rows = source.take(indices)
    batch = {"x": to_range(rows["x"], source.spec)}
    if "label" in rows:
        batch["label"] = rows["label"]
    return batch


@dataclass(frozen=True)
class _Order:
    """The batches' indices as a random-access source for Grain."""

    length: int
    batch_size: int
    seed: int
    start: int
    process_index: int
    process_count: int
    orders: Orders = field(repr=False)

    def __len__(self) -> int:
        return sys.maxsize // self.batch_size - self.start

    def __getitem__(self, n: int) -> Int64[np.ndarray, " b"]:
        return batch_indices(
            self.length,
            batch_size=self.batch_size,
            seed=self.seed,
            n=self.start + n,
            process_index=self.process_index,
            process_count=self.process_count,
            orders=self.orders,
        )
