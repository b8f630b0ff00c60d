"""The width in which every loss is computed."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x` in float32, or as it is where it is wider: sums and squares in bfloat16 lose their tail."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x
