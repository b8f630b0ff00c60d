"""The roll and token forms of `notes.py` as JAX functions: batched, jittable, the same numbers.

A roll here is float, [b, steps, 60, 2 * voices] of 0 and 1; for tokens and planes see `notes.py`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.music.notes import HOLD, PITCHES, REST
from genjax_art.spec import ArraySpec


def binary(x: Float[Array, "b t p c"], spec: ArraySpec) -> Float[Array, "b t p c"]:
    """0 below the middle of the spec's range, 1 above."""
    return (x > 0.5 * (spec.low + spec.high)).astype(jnp.float32)


def in_range(roll: Float[Array, "b t p c"], spec: ArraySpec) -> Float[Array, "b t p c"]:
    """0 and 1 as the ends of the spec's range."""
    return spec.low + (spec.high - spec.low) * roll


def tokens_from_roll(roll: Float[Array, "b t p c"]) -> Int[Array, "b t v"]:
    """The tokens of each voice; where a voice has several notes at once, of the highest."""
    voices = roll.shape[-1] // 2
    onset, sustain = roll[..., :voices] > 0, roll[..., voices:] > 0
    sounding = jnp.any(sustain, 2)
    top = PITCHES - 1 - jnp.argmax(sustain[:, :, ::-1], 2).astype(jnp.int32)
    starts = jnp.take_along_axis(onset, top[:, :, None], 2)[:, :, 0]
    before = jnp.pad(jnp.where(sounding, top, -1)[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=-1)
    return jnp.where(sounding, jnp.where(starts | (top != before), top, HOLD), REST)


def sounding_pitches(tokens: Int[Array, "b t v"]) -> Int[Array, "b t v"]:
    """The row 0..59 that sounds in each step, `REST` in silence; a hold with nothing to hold is silence."""
    steps = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, :, None]
    spoken = jax.lax.cummax(jnp.where(tokens == HOLD, -1, steps), axis=1)  # the last step that was not a hold
    return jnp.where(spoken < 0, REST, jnp.take_along_axis(tokens, jnp.maximum(spoken, 0), 1))


def roll_from_tokens(tokens: Int[Array, "b t v"]) -> Float[Array, "b t p c"]:
    """The roll of one-note-at-a-time tokens."""
    return jnp.concatenate([pitch_planes(tokens), pitch_planes(sounding_pitches(tokens))], -1)


def pitch_planes(pitches: Int[Array, "*b v"]) -> Float[Array, "*b p v"]:
    """1 at each voice's row; all 0 for a hold or a rest."""
    rows = jnp.arange(PITCHES, dtype=jnp.int32).reshape((1,) * (pitches.ndim - 1) + (-1, 1))
    return (jnp.expand_dims(pitches, -2) == rows).astype(jnp.float32)


def rows_of(roll: Float[Array, "*b p c"]) -> Int[Array, "*b v"]:
    """The row that each voice sounds, one note at a time, `REST` in silence: what `pitch_planes` makes sustain of."""
    sustain = roll[..., roll.shape[-1] // 2 :]
    return jnp.where(jnp.max(sustain, -2) > 0.5, jnp.argmax(sustain, -2), REST).astype(jnp.int32)
