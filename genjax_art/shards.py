"""The global batch, seen from inside one share of it: the only thing a loss or a layer may know of devices.

Under `pmap` and on a mesh a step sees its device's share of the batch; under `jit` it sees the global batch. Where
gradients are accumulated (`train/accumulate.py`) a loss sees one micro-batch of either.
Code that needs more than its own examples (batch statistics, random draws, means inside a non-linear
loss) calls the functions below and is then the same in all three modes: where the device axis is not bound,
they are the plain mean and the plain draw. Draws are those of the whole batch, whatever its shares; means and rows are
those of one micro-batch, over all devices.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import gcd

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from genjax_art.spec import Key

DEVICE_AXIS = "devices"
BLOCK = 4  # successive rows that stay together in a micro-batch: groups of a minibatch deviation, and packs


@dataclass(frozen=True)
class _MicroBatch:
    index: Int[Array, ""]
    count: int
    rows: int  # of this device


# While a loss is traced for a micro-batch: which one it is. JAX has no axis names for the turns of a loop.
_micro_batch: ContextVar[_MicroBatch | None] = ContextVar("micro-batch", default=None)


def device_axis_size() -> int | None:
    """The number of devices on the mapped axis, or None where none is bound (jit, eager)."""
    try:
        return jax.lax.axis_size(DEVICE_AXIS)
    except NameError:
        return None


def shares() -> int:
    """Into how many equal parts the global batch is divided, of which the caller sees one: devices x micro-batches."""
    micro = _micro_batch.get()
    return (device_axis_size() or 1) * (micro.count if micro else 1)


def device_mean(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Elementwise mean of what the devices have, `x` itself where there is no device axis."""
    return x if device_axis_size() is None else jax.lax.pmean(x, DEVICE_AXIS)


def global_mean(x: Float[Array, "..."], axis: int | tuple[int, ...] | None = None) -> Float[Array, "..."]:
    """Mean of `x` over `axis` (which includes the batch axis) and over all devices."""
    return device_mean(jnp.mean(x, axis))


def global_rows(x: Float[Array, "b ..."]) -> Float[Array, "B ..."]:
    """The rows of all devices, in the order of the global batch; `x` itself where there is no device axis."""
    return x if device_axis_size() is None else jax.lax.all_gather(x, DEVICE_AXIS, tiled=True)


def global_draw(draw: Callable[..., Array], key: Key, shape: tuple[int, ...], *args: object) -> Array:
    """`draw(key, global_shape, *args)` for the global batch, of which this device and micro-batch gets its own rows.

    `shape` is the local shape, batch first. jit, pmap and mesh therefore draw the same numbers, in any number of
    micro-batches; folding the device index into the key instead would make results depend on the number of devices.
    """
    if shares() == 1:
        return draw(key, shape, *args)
    micro = _micro_batch.get()
    rows = draw(key, (shares() * shape[0], *shape[1:]), *args)
    if device_axis_size() is not None:
        own = shape[0] * (micro.count if micro else 1)
        rows = jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(DEVICE_AXIS) * own, own)
    if micro:
        rows = jax.lax.dynamic_index_in_dim(_dealt(rows, micro.count, micro.rows), micro.index, keepdims=False)
    return rows


def global_normal(key: Key, shape: tuple[int, ...]) -> Float[Array, "b ..."]:
    """Standard normal numbers of local `shape`, drawn for the global batch."""
    return global_draw(jax.random.normal, key, shape)


def micro_batches(x: Shaped[Array, "b ..."], count: int) -> Shaped[Array, "{count} r ..."]:
    """The rows of a batch dealt out to `count` micro-batches, in blocks of up to four successive rows.

    Dealt out, and not cut, so that each micro-batch of one device has rows of all parts of the batch, as those of
    several devices have.
    """
    return _dealt(x, count, len(x) // count)


@contextmanager
def micro_batch(index: Int[Array, ""], count: int, rows: int) -> Iterator[None]:
    """Within it, code sees micro-batch `index` of `micro_batches(x, count)`, of so many rows."""
    token = _micro_batch.set(_MicroBatch(index, count, rows))
    try:
        yield
    finally:
        _micro_batch.reset(token)


def _dealt(x: Array, count: int, rows: int) -> Array:
    """`x`, of one row for each of the batch or for each pack of it, in micro-batches of `rows` rows of the batch."""
    blocks = gcd(rows // gcd(rows, BLOCK), len(x) // count)
    x = x.reshape(blocks, count, -1, *x.shape[1:])
    return jnp.moveaxis(x, 1, 0).reshape(count, -1, *x.shape[3:])
