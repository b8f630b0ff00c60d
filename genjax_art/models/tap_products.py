"""The TPU form of a kernel gradient where x or ȳ has few channels: what each tap sees, in one matrix product.

As a convolution it takes the TPU's compiler minutes in float32 (a 5x5 one of stride 2 from one channel 107 s and
3.5 GB, here 1 s). With few output channels the product is the quicker program, too, by the compiler's own estimate: 0.5
to 0.7 of the cycles; with few input channels it has 1.3 to 1.5 of them in float32. A mapped axis of ȳ alone (several
members on one x) counts as channels, so that there may be no longer few.
Compiled for a TPU v5e by libtpu 0.0.50 on a machine without one.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from genjax_art.models.plain_convolution import FEW, Geometry, seen_by_taps


def few_channels(x: Float[Array, "b ..."], y: Float[Array, "b ..."], geometry: Geometry) -> bool:
    """Whether the kernel gradient of x and ȳ is one for this file."""
    return _few_outputs(y, geometry) or (geometry.groups == 1 and x.shape[-1] <= FEW and jnp.finfo(x.dtype).bits >= 32)


def kernel_gradient(
    x: Float[Array, "b ..."], y: Float[Array, "b ..."], *, geometry: Geometry, precision: str | None = None
) -> Float[Array, "..."]:
    """w̄ of x and ȳ, without groups."""
    if _few_outputs(y, geometry):
        mirrored = _product(y, x, geometry.mirrored(), precision)
        return jnp.flip(mirrored, range(mirrored.ndim - 2)).swapaxes(-1, -2)
    return _product(x, y, geometry, precision)


def _few_outputs(y: Array, geometry: Geometry) -> bool:
    return geometry.mirrors and y.shape[-1] <= FEW


def _product(x: Array, y: Array, g: Geometry, precision: str | None) -> Array:
    seen = jnp.concatenate([part for part, _ in seen_by_taps(x, g.strides, g.pads, g.window)], -1)
    places = tuple(range(y.ndim - 1))
    w: Array = lax.dot_general(seen, y, ((places, places), ((), ())), precision=precision)
    return w.reshape(*g.window, x.shape[-1], y.shape[-1])
