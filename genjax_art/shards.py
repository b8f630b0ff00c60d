"""The global batch, seen from inside one device: the only thing a loss or a layer may know of devices.

Under `pmap` a step sees its device's share of the batch; under `jit` and a mesh it sees the global batch.
Code that needs more than its own examples (batch statistics, random draws, means inside a non-linear
loss) calls the functions below and is then the same in all three modes: where the device axis is not bound,
they are the plain mean and the plain draw.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.spec import Key

DEVICE_AXIS = "devices"


def device_axis_size() -> int | None:
    """The number of devices on the mapped axis, or None where none is bound (jit, mesh, eager)."""
    try:
        return jax.lax.axis_size(DEVICE_AXIS)
    except NameError:
        return None


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
    """`draw(key, global_shape, *args)` for the global batch, of which this device gets its own rows.

    `shape` is the local shape, batch first. jit, pmap and mesh therefore draw the same numbers; folding the
    device index into the key instead would make results depend on the number of devices.
    """
    n = device_axis_size()
    if n is None:
        return draw(key, shape, *args)
    rows = draw(key, (n * shape[0], *shape[1:]), *args)
    return jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(DEVICE_AXIS) * shape[0], shape[0])


def global_normal(key: Key, shape: tuple[int, ...]) -> Float[Array, "b ..."]:
    """Standard normal numbers of local `shape`, drawn for the global batch."""
    return global_draw(jax.random.normal, key, shape)
