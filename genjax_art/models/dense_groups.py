"""The TPU forms of a grouped convolution: groups side by side as one dense convolution whose kernel is 0 between them.

A TPU multiplies matrices of 128 x 128 (of 256 x 256 since v6e), of which a group of 16 channels leaves the most empty:
eight of them as one dense block take, by the compiler's own estimate, 0.47 of the cycles in bfloat16 and 0.25 in
float32 (3x3, 128 channels; for a TPU v5e by libtpu 0.0.50, on a machine without one). On a GPU they are slower. What is
not finite in a kernel stays in its group; in x or ȳ it spreads over the block, being multiplied by 0.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.plain_convolution import Geometry

BLOCK = 128  # channels
LEAST = 8  # channels of a group: with fewer the zeros are too many

Form = Callable[..., Array]


def joined(groups: int, channels: int) -> int:
    """How many groups of so many channels make a block: 1 where they had better be left alone."""
    most = BLOCK // channels if channels >= LEAST else 1
    return max(n for n in range(1, max(1, most) + 1) if groups % n == 0)


def with_kernel(
    form: Form, v: Float[Array, "b ..."], w: Float[Array, "..."], *, geometry: Geometry, **how: Any
) -> Float[Array, "b ..."]:
    """y of x and w, or x̄ of ȳ and w: `form` of a dense convolution, block by block; as it is where none are joined."""
    each = joined(geometry.groups, w.shape[-2])
    if each == 1:
        return form(v, w, geometry=geometry, **how)
    blocks = geometry.groups // each
    pairs = zip(jnp.split(v, blocks, -1), jnp.split(w, blocks, -1), strict=True)
    dense = replace(geometry, groups=1)
    return jnp.concatenate([form(a, _dense(b, each), geometry=dense, **how) for a, b in pairs], -1)


def of_kernel(
    form: Form, x: Float[Array, "b ..."], y: Float[Array, "b ..."], *, geometry: Geometry, **how: Any
) -> Float[Array, "..."]:
    """w̄ of x and ȳ, in the same way: what `form` finds between groups is left out."""
    each = joined(geometry.groups, x.shape[-1] // geometry.groups)
    if each == 1:
        return form(x, y, geometry=geometry, **how)
    blocks = geometry.groups // each
    pairs = zip(jnp.split(x, blocks, -1), jnp.split(y, blocks, -1), strict=True)
    dense = replace(geometry, groups=1)
    return jnp.concatenate([_groups(form(a, b, geometry=dense, **how), each) for a, b in pairs], -1)


def _dense(w: Float[Array, "*window c d"], groups: int) -> Float[Array, "*window c2 d"]:
    *window, c, d = w.shape
    apart = w.reshape(*window, 1, c, groups, d // groups)
    own = jnp.eye(groups, dtype=bool).reshape(*(1,) * len(window), groups, 1, groups, 1)
    return jnp.where(own, apart, 0).reshape(*window, groups * c, d)


def _groups(w: Float[Array, "*window c2 d"], groups: int) -> Float[Array, "*window c d"]:
    *window, c, d = w.shape
    apart = w.reshape(*window, groups, c // groups, groups, d // groups)
    own = jnp.diagonal(apart, axis1=-4, axis2=-2)  # the groups come last
    return jnp.moveaxis(own, -1, -2).reshape(*window, c // groups, d)
