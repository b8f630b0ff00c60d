"""The width in which every loss is computed, and primitives that stay precise and quick where there are many."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x` in float32, or as it is where it is wider: sums and squares in bfloat16 lose their tail."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


@jax.custom_jvp
def softplus(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """log(1 + e^x), to a relative 3e-7 in float32, without the logarithm.

    With u = e^-|x| and t = u / (2 + u) <= 1/3 it is max(x, 0) + 2 artanh t, whose series needs seven terms. On CPU a
    logarithm of 1 + u costs three times as much. float64 takes the logarithm.
    """
    if x.dtype == jnp.float64:
        return jax.nn.softplus(x)
    u = jnp.exp(-jnp.abs(x))
    t = u / (2 + u)
    series = jnp.full_like(x, 1 / 13)
    for n in (11, 9, 7, 5, 3, 1):
        series = 1 / n + t * t * series
    return jnp.maximum(x, 0) + 2 * t * series


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return softplus(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


def sum_per_example(x: Float[Array, "b *shape"]) -> Float[Array, " b"]:
    """Sums over all axes but the first, as a product with ones.

    A sum over the last axes would run on one thread of a CPU, and one of a product would become a dot product for each
    example, which is slower still.
    """
    rows = x.reshape(len(x), math.prod(x.shape[1:]))
    return jnp.matmul(rows, jnp.ones(rows.shape[1], x.dtype), precision=jax.lax.Precision.HIGHEST)
