"""Signs of mode collapse within one batch, cheap enough for every step: in the discriminator's own features."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.shards import global_mean, global_rows


def collapse(real: Float[Array, "b d"], fake: Float[Array, "b d"]) -> dict[str, Float[Array, ""]]:
    """How spread out fakes are beside reals, and how many of them have a twin.

    `feature_spread`: standard deviation of the fakes' features over that of the reals' (pooled over features, of the
    global batch); about 1 for a generator as varied as the data, 0 for one that makes a single picture.
    `duplicates`: share of fakes whose neighbour in the batch (the one before it) is nearer than a tenth of the mean
    distance of neighbouring reals; 0 for varied fakes, 1 for a single picture. Chance neighbours estimate the share of
    pairs of twins without comparing all pairs.
    """
    spread = jnp.sqrt(_variance(fake) / jnp.maximum(_variance(real), 1e-12))
    typical = jnp.mean(_to_neighbour(real))
    # a tenth: set by hand, so that varied fakes have no twins and near copies count as such
    twins = (_to_neighbour(fake) < 0.1 * typical).astype(jnp.float32)
    return {"feature_spread": spread, "duplicates": jnp.mean(twins)}


def _variance(x: Float[Array, "b d"]) -> Float[Array, ""]:
    """Variance over the global batch, summed over features."""
    x = x.astype(jnp.float32)
    return jnp.sum(global_mean((x - global_mean(x, 0)[None]) ** 2, 0))


def _to_neighbour(x: Float[Array, "b d"]) -> Float[Array, " n"]:
    """From each row of the global batch to the one before it, the first one's being the last."""
    x = global_rows(x.astype(jnp.float32))
    return jnp.sqrt(jnp.sum((x - jnp.roll(x, 1, axis=0)) ** 2, -1))
