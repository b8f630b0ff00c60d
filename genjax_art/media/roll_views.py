"""Rolls changed a little, so that they are still the same music in the same style."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.spec import Key

FARTHEST = 6  # semitones of a transposition, either way
REST = 0.25  # the longest silence, of a roll's steps
SILENCE = -1.0


def alike(x: Float[Array, "b t p c"], key: Key) -> Float[Array, "b t p c"]:
    """Each roll, in [-1, 1], in another key, as far as all its notes stay in range, and silent for a random stretch of
    up to a quarter of its steps. Notes keep their places in the bar, their voices and their distances: all that is
    style."""
    b, steps, pitches, _ = x.shape
    move, start, length = jax.random.split(key, 3)
    low, high = _range(x)
    down, up = jnp.minimum(FARTHEST, low), jnp.minimum(FARTHEST, pitches - 1 - high)
    by = jnp.floor(jax.random.uniform(move, (b,), minval=-down, maxval=up + 1)).astype(jnp.int32)
    moved = jax.vmap(lambda one, n: jnp.roll(one, n, axis=1))(x, jnp.clip(by, -down, up))

    rest = jnp.floor(jax.random.uniform(length, (b, 1)) * (REST * steps + 1))
    begin = jnp.floor(jax.random.uniform(start, (b, 1)) * (steps - rest + 1))
    at = jnp.arange(steps, dtype=x.dtype)[None, :]
    silent = (at >= begin) & (at < begin + rest)
    return jnp.where(silent[:, :, None, None], jnp.asarray(SILENCE, x.dtype), moved)


def _range(x: Float[Array, "b t p c"]) -> tuple[Int[Array, " b"], Int[Array, " b"]]:
    """The rows of each roll's lowest and highest note; its middle row where it has none."""
    sounds = jnp.any(x > 0, (1, 3))
    number = jnp.arange(x.shape[2])[None, :]
    middle = x.shape[2] // 2
    low = jnp.min(jnp.where(sounds, number, x.shape[2]), 1)
    high = jnp.max(jnp.where(sounds, number, -1), 1)
    none = high < 0
    return jnp.where(none, middle, low), jnp.where(none, middle, high)
