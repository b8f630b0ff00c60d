"""MusicVAE: a recurrent variational autoencoder of polyphonic music, with a conductor per bar.

Roberts, Engel, Raffel, Hawthorne & Eck 2018, arXiv:1803.05428, sections 3.1 and 3.2. The encoder reads the piece in
both directions. From z a conductor makes one vector per bar; the decoder starts afresh in every bar from that vector,
so that what bars have in common must come through z, and writes one token per voice and step (see `notes.py`).

Unlike the paper: GRU instead of LSTM cells; the voices are not independent given the bar, each sees what the ones
above it play in the same step; the input from the past is the roll of the step before, which also has the pitch of
a note that is held; and a voice gets intervals as inputs and predicts its pitch also as a leap and as intervals from
the voices above: voice leading is the same in all keys.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genjax_art.errors import UsageError
from genjax_art.models.layers import Dense, wide
from genjax_art.models.recurrent import GRU
from genjax_art.music.notes import HOLD, PITCHES, REST, STEPS_PER_BAR, TOKENS, is_bars
from genjax_art.music.tokens import pitch_planes, rows_of
from genjax_art.parts import Count
from genjax_art.spec import ArraySpec

REACH = 36  # semitones, three octaves: a wider interval is predicted as a pitch alone


class Encoder(nn.Module):
    latents: int
    embedding: int
    width: int

    @nn.compact
    def __call__(self, roll: Float[Array, "b t p c"]) -> tuple[Float[Array, "b z"], Float[Array, "b z"]]:
        """mu and logvar of q(z|roll), from the last states of both directions (section 3.1)."""
        x = Dense(self.embedding)(roll.reshape(*roll.shape[:2], -1))
        start = jnp.zeros((len(x), self.width), x.dtype)
        last = jnp.concatenate(
            [GRU(self.width)(x, start)[:, -1], GRU(self.width)(x, start, reverse=True)[:, 0]],
            -1,
        )
        return Dense(self.latents)(last), Dense(self.latents)(last)


class VoiceHead(nn.Module):
    """Logits of one voice's token, from the decoder's state, the step before and the voices above in this step.

    Its inputs are the other voices as intervals from the pitch that it had itself. Besides logits of pitches it
    predicts logits of leaps from there and of intervals from each voice above, and adds each to the pitch that it
    leads to. Rows are 0..59, or `REST` in silence, from which there is no interval; `others` are the rows of all voices
    in the step before, then those of the voices above in this step.
    """

    width: int
    above: int

    @nn.compact
    def __call__(
        self, state: Float[Array, "*b h"], own: Int[Array, "*b"], others: Int[Array, "*b n"]
    ) -> Float[Array, "*b 62"]:
        interval = jnp.clip(others - own[..., None], -REACH, REACH) + REACH
        silent = (others == REST) | (own == REST)[..., None]
        seen = [
            jax.nn.one_hot(jnp.where(silent, 2 * REACH + 1, interval), 2 * REACH + 2, dtype=state.dtype),
            jax.nn.one_hot(others, PITCHES, dtype=state.dtype),
            jax.nn.one_hot(own[..., None], PITCHES, dtype=state.dtype),
        ]
        flat = [x.reshape(*x.shape[:-2], -1) for x in seen]
        x = nn.relu(Dense(self.width)(jnp.concatenate([state, *flat], -1)))
        origins = jnp.concatenate([own[..., None], others[..., others.shape[-1] - self.above :]], -1)
        predicted = Dense((1 + self.above) * (2 * REACH + 1), name="intervals")(x)
        pitches = arrivals(predicted.reshape(*x.shape[:-1], 1 + self.above, -1), origins)
        return Dense(TOKENS, name="token")(x) + jnp.pad(pitches, [(0, 0)] * (x.ndim - 1) + [(0, TOKENS - PITCHES)])


def arrivals(predicted: Float[Array, "*b n i"], origins: Int[Array, "*b n"]) -> Float[Array, "*b 60"]:
    """The logits of the intervals -REACH to REACH from each origin, summed at the rows that they lead to."""
    rows = jnp.arange(PITCHES, dtype=jnp.int32).reshape((1,) * origins.ndim + (-1,))
    interval = rows - origins[..., None] + REACH
    there = (interval >= 0) & (interval <= 2 * REACH) & (origins != REST)[..., None]
    return jnp.sum(jnp.where(there, jnp.take_along_axis(predicted, jnp.clip(interval, 0, 2 * REACH), -1), 0.0), -2)


class Decoder(nn.Module):
    bars: int
    voices: int
    latents: int
    embedding: int
    conductor: int
    width: int
    layers: int
    head: int
    classes: int = 0

    def setup(self) -> None:
        self.conductor_start = Dense(self.conductor)
        self.conductor_cell = GRU(self.conductor)
        self.bar_starts = [Dense(self.width) for _ in range(self.layers)]
        self.embed = Dense(self.embedding)
        self.cells = [GRU(self.width) for _ in range(self.layers)]
        self.heads = [VoiceHead(self.head, above) for above in range(self.voices)]

    def conduct(self, z: Float[Array, "b z"]) -> Float[Array, "b bars d"]:
        """One vector per bar: the conductor's states, whose input is z at every bar (section 3.2)."""
        start = jnp.tanh(self.conductor_start(z))
        return self.conductor_cell(jnp.repeat(z[:, None], self.bars, 1), start)

    def see(
        self, before: Float[Array, "*b p c"], bar: Float[Array, "*b d"], beat: Float[Array, "*b 16"]
    ) -> Float[Array, "*b e"]:
        """The decoder's input: the roll of the step before, its bar's vector and its place in the bar."""
        flat = before.reshape(*before.shape[:-2], -1)
        return jnp.concatenate([self.embed(flat), bar, beat], -1)

    def __call__(self, z: Float[Array, "b z"], roll: Float[Array, "b t p c"]) -> Float[Array, "b t v 62"]:
        """Teacher forcing: logits of every token given z, the steps before it and the voices above it.

        Bars depend on each other through z and the step before only, so they are scanned side by side.
        """
        b, steps = roll.shape[:2]
        bars = self.conduct(z)
        before = jnp.pad(roll[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        rows = (b * self.bars, STEPS_PER_BAR)
        x = self.see(
            before.reshape(*rows, *roll.shape[2:]),
            jnp.repeat(bars.reshape(rows[0], 1, -1), STEPS_PER_BAR, 1),
            jnp.broadcast_to(jnp.eye(STEPS_PER_BAR, dtype=z.dtype)[None], (*rows, STEPS_PER_BAR)),
        )
        for cell, start in zip(self.cells, self.bar_starts, strict=True):
            x = cell(x, jnp.tanh(start(bars)).reshape(rows[0], -1))
        x = x.reshape(b, steps, -1)
        was, now = rows_of(before), rows_of(roll)
        return jnp.stack([self.token_logits(x, v, was, now[..., :v]) for v in range(self.voices)], 2)

    def token_logits(
        self, x: Float[Array, "*b h"], voice: int, was: Int[Array, "*b v"], above: Int[Array, "*b n"]
    ) -> Float[Array, "*b 62"]:
        """Logits of a voice's token: `was` are rows in the step before, of all voices; `above` those above it now."""
        return self.heads[voice](x, was[..., voice], jnp.concatenate([was, above], -1))

    def decode(
        self,
        z: Float[Array, "b z"],
        levels: Float[Array, "b t v"],
        given: Int[Array, "b t v"],
        known: Bool[Array, " t"],
        temperature: float,
    ) -> Int[Array, "b t v"]:
        """Free running: tokens that follow from z and from the tokens before.

        A token is the quantile `levels` (0 to 1) of its distribution at `temperature`; at 0 the likeliest one.
        In the steps that are `known` it is the `given` one instead.
        """
        bars = self.conduct(z)
        starts = [jnp.tanh(start(bars)) for start in self.bar_starts]

        def body(module: "Decoder", carry: Any, xs: tuple[Array, ...]) -> tuple[Any, Array]:
            states, before = carry
            time, level, forced, fixed = xs
            bar, step = time // STEPS_PER_BAR, time % STEPS_PER_BAR
            beat = jnp.broadcast_to(jnp.eye(STEPS_PER_BAR, dtype=z.dtype)[step][None], (z.shape[0], STEPS_PER_BAR))
            x, states = module.see(before, bars[:, bar], beat), list(states)
            for i, cell in enumerate(module.cells):
                states[i] = x = cell.step(jnp.where(step == 0, starts[i][:, bar], states[i]), x)
            was = rows_of(before)
            tokens, rows = was[:, :0], was[:, :0]
            for v in range(module.voices):
                token = choose(module.token_logits(x, v, was, rows), level[:, v], temperature)
                token = jnp.where(fixed, forced[:, v], token)
                row = jnp.where(token == HOLD, was[:, v], token)
                tokens, rows = (jnp.concatenate([a, b[:, None]], -1) for a, b in ((tokens, token), (rows, row)))
            roll = jnp.concatenate([pitch_planes(tokens), pitch_planes(rows)], -1).astype(z.dtype)
            return (states, roll), tokens

        scan = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
        empty = [jnp.zeros((z.shape[0], self.width), z.dtype) for _ in self.cells]
        silence = jnp.zeros((z.shape[0], PITCHES, 2 * self.voices), z.dtype)
        time = jnp.arange(self.bars * STEPS_PER_BAR, dtype=jnp.int32)
        _, tokens = scan(self, (empty, silence), (time, jnp.swapaxes(levels, 0, 1), jnp.swapaxes(given, 0, 1), known))
        return jnp.swapaxes(tokens, 0, 1)


def choose(logits: Float[Array, "b k"], level: Float[Array, " b"], temperature: float) -> Int[Array, " b"]:
    """The token at the quantile `level` of softmax(logits / temperature); the likeliest one at temperature 0."""
    if temperature == 0:
        return jnp.argmax(logits, -1).astype(jnp.int32)
    below = jnp.cumsum(jax.nn.softmax(wide(logits) / temperature, -1), -1) < level[:, None]
    return jnp.minimum(jnp.sum(below, -1), logits.shape[-1] - 1).astype(jnp.int32)


def build(
    spec: ArraySpec,
    *,
    latents: int = 256,
    embedding: int = 256,
    encoder_width: int = 1024,
    conductor_width: int = 1024,
    decoder_width: int = 1024,
    decoder_layers: Count = 2,
    head_width: int = 512,
) -> dict[str, nn.Module]:
    """Encoder and decoder of piano rolls of any number of bars and voices; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      embedding: numbers to which one step of the roll is projected before a recurrent layer reads it.
      encoder_width: units of the encoder's GRU in each of its two directions.
      conductor_width: units of the conductor's GRU, which makes one vector per bar.
      decoder_width: units of each GRU layer of the decoder.
      decoder_layers: GRU layers of the decoder.
      head_width: units of the hidden layer between the decoder and each voice's tokens.

    Raises:
      UsageError: the data are no piano rolls of whole bars.
    """
    if not is_bars(spec.shape):
        raise UsageError(
            f"model music_vae writes piano rolls of whole bars, [16 a bar, 60, 2 a voice], not arrays of shape "
            f"{spec.shape}: choose music with --data.name chorales or midi_folder"
        )
    return {
        "encoder": Encoder(latents, embedding, encoder_width),
        "decoder": Decoder(
            spec.shape[0] // STEPS_PER_BAR,
            spec.channels // 2,
            latents,
            embedding,
            conductor_width,
            decoder_width,
            decoder_layers,
            head_width,
        ),
    }
