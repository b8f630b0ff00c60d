"""Which examples of a batch count."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.losses.precision import at_least_float32
from genjax_art.shards import global_mean, global_rows


def top_share(logits: Float[Array, "b"], share: float | Float[Array, ""]) -> Float[Array, "b"]:
    """Weights of mean 1 over the global batch: equal for the `share` of it with the highest logits, else 0.

    Top-k training: the generator learns from the fakes that look most real, k = share * batch rounded up, at least 1
    (Sinha et al. 2020, arXiv:2002.06224). Fakes that tie with the k-th all count. No gradient flows through.
    """
    logits = jax.lax.stop_gradient(at_least_float32(logits))
    ranked = jnp.sort(global_rows(logits))
    n = len(ranked)
    k = jnp.clip(jnp.ceil(jnp.asarray(share, jnp.float32) * n - 1e-3).astype(int), 1, n)
    kept = (logits >= ranked[n - k]).astype(jnp.float32)
    return kept / global_mean(kept)
