"""MuseGAN: generator and critic of multi-track piano rolls, on a shared stem and streams per voice.

Dong, Hsiao, Yang & Yang 2018, arXiv:1709.06298 (one z for all tracks, generators per track), with the streams of its
successor, Dong & Yang 2018, arXiv:1804.09399: of a private pair one upsamples pitch, then
time, the other time, then pitch; the critic reads bars, chroma and onsets. All steps up and down have a stride
as long as their kernel: they are matrix products on patches, which is what they are written as here.

Unlike the papers, a voice has one note at a time: a softmax over 60 rows and silence, chosen again where a gate
opens and held where not, so that the length of a note is one decision and not one a step. The softmax cannot saturate,
as its logits have a given mean square. In training the critic sees these soft rolls, when sampling the likeliest rows
and gates are taken; `binarise` takes them in training, too, with the gradient of the soft ones (straight-through,
arXiv:1804.09399; after arXiv:1308.3432). The critic has one stream more, of intervals between the voices and from step
to step, which are the same in all keys.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError
from genjax_art.models.layers import BatchNorm, Dense, everywhere, wide
from genjax_art.music.notes import PITCHES, STEPS_PER_BAR, STEPS_PER_BEAT, is_bars
from genjax_art.music.tokens import in_range
from genjax_art.spec import ArraySpec, Label

OCTAVES, SEMITONES = 5, 12
SHARPNESS = 5.0  # root mean square of a softmax's logits; set by hand: one pitch dominates, the others keep gradients
PERIOD = 48  # semitones: intervals up to two octaves are distinct
VOICE_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal", in_axis=-2, out_axis=-1, batch_axis=0)


class VoiceDense(nn.Module):
    """A dense layer of its own for each voice: x [b, voices, ..., in]."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b v *s c"]) -> Float[Array, "b v *s d"]:
        voices = x.shape[1]
        kernel = self.param("kernel", VOICE_INIT, (voices, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (voices, self.features))
        y: Array = jnp.einsum("bv...c,vcd->bv...d", x, kernel)
        return y + everywhere(bias.reshape(voices, *(1,) * (x.ndim - 3), self.features), y)


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    binarise: bool
    classes: int = 0

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b t p c"]:
        del label
        w, steps, voices = self.width, self.spec.shape[0], self.spec.channels // 2
        beats = steps // STEPS_PER_BEAT
        # the stem, shared by all voices: a vector per beat, all from one z
        h = Dense(beats * 8 * w)(z).reshape(-1, beats, 8 * w)
        h = nn.relu(BatchNorm()(h, train))
        h = nn.relu(BatchNorm()(Dense(8 * w)(h), train))
        h = nn.relu(VoiceDense(4 * w)(jnp.broadcast_to(h[:, None], (len(h), voices, *h.shape[1:]))))
        pitch_first = nn.relu(VoiceDense(OCTAVES * w)(h)).reshape(*h.shape[:3], OCTAVES, w)
        pitch_first = nn.relu(VoiceDense(SEMITONES * w // 2)(pitch_first)).reshape(*h.shape[:3], PITCHES, w // 2)
        pitch_first = VoiceDense(STEPS_PER_BEAT)(pitch_first)  # [b, v, beats, 60, 4]
        pitch_first = jnp.swapaxes(pitch_first, -1, -2).reshape(-1, voices, steps, PITCHES)
        time_first = nn.relu(VoiceDense(STEPS_PER_BEAT * 2 * w)(h)).reshape(-1, voices, steps, 2 * w)
        octaves = nn.relu(VoiceDense(OCTAVES * w)(time_first)).reshape(-1, voices, steps, OCTAVES, w)
        pitches = VoiceDense(SEMITONES)(octaves).reshape(-1, voices, steps, PITCHES)
        rest, gate = jnp.split(VoiceDense(2)(time_first), 2, -1)
        roll = voices_to_roll(pitch_first + pitches, rest - 4.0, gate[..., 0] - 2.0, self.binarise or not train)
        return in_range(roll, self.spec)


def voices_to_roll(
    pitches: Float[Array, "b v t p"], rest: Float[Array, "b v t 1"], gate: Float[Array, "b v t"], hard: bool
) -> Float[Array, "b t p c"]:
    """Onset and sustain planes in 0..1 from logits of pitch and silence, and of a gate; the first step is open.

    In float32 at least: gradients are sums over the pitches, of each step.
    """
    logits, gate = wide(jnp.concatenate([pitches, rest], -1)), wide(gate)
    logits = logits - jnp.mean(logits, -1, keepdims=True)
    soft = jax.nn.softmax(SHARPNESS * logits * jax.lax.rsqrt(jnp.mean(logits**2, -1, keepdims=True) + 1e-3), -1)
    opened = jax.nn.sigmoid(gate)
    if hard:
        soft = straight_through(jax.nn.one_hot(jnp.argmax(soft, -1), soft.shape[-1], dtype=soft.dtype), soft)
        opened = straight_through((gate > 0).astype(gate.dtype), opened)
    opened = opened.at[:, :, 0].set(1.0)[..., None]
    onset = opened * soft[..., :-1]

    def hold(sustain: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        sustain = (1.0 - step[0]) * sustain + step[1]
        return sustain, sustain

    steps = (jnp.moveaxis(opened, 2, 0), jnp.moveaxis(onset, 2, 0))
    _, sustain = jax.lax.scan(hold, jnp.zeros_like(onset[:, :, 0]), steps, unroll=STEPS_PER_BAR)
    return jnp.concatenate([jnp.moveaxis(onset, 1, -1), jnp.transpose(sustain, (1, 0, 3, 2))], -1)


def straight_through(hard: Float[Array, "*s"], soft: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The value of `hard`, the gradient of `soft`."""
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))  # exactly: the second term is 0


class Discriminator(nn.Module):
    """The critic: pitch-time, interval and time-pitch streams, joined per beat with chroma, per bar with onsets."""

    width: int
    low: float  # of the data
    high: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t p c"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        del label, train
        w, (b, steps, _, planes) = self.width, x.shape
        beats = steps // STEPS_PER_BEAT
        pitch_first = act(Dense(2 * w)(x.reshape(b, steps, OCTAVES, SEMITONES * planes)))
        pitch_first = act(Dense(4 * w)(pitch_first.reshape(b, steps, -1)))
        sounding = (x[..., planes // 2 :] - self.low) / (self.high - self.low)
        pitch_first = jnp.concatenate([pitch_first, act(Dense(4 * w)(intervals(sounding)))], -1)
        pitch_first = act(Dense(8 * w)(pitch_first.reshape(b, beats, -1)))
        by_beat = jnp.swapaxes(x.reshape(b, beats, STEPS_PER_BEAT, PITCHES, planes), 2, 3)
        time_first = act(Dense(w)(by_beat.reshape(b, beats, PITCHES, -1)))
        time_first = act(Dense(2 * w)(time_first.reshape(b, beats, OCTAVES, -1)))
        time_first = act(Dense(4 * w)(time_first.reshape(b, beats, -1)))
        chroma = act(Dense(4 * w)(chroma_of(x).reshape(b, beats, -1)))
        h = act(Dense(8 * w)(jnp.concatenate([pitch_first, time_first, chroma], -1)))
        h = act(Dense(8 * w)(h.reshape(b, steps // STEPS_PER_BAR, -1)))
        onsets = jnp.sum(x[..., : planes // 2], 2).reshape(b, steps // STEPS_PER_BAR, -1)
        onsets = act(Dense(2 * w)(onsets))
        h = act(Dense(8 * w)(jnp.concatenate([h, onsets], -1).reshape(b, -1)))
        return {"logits": Dense(1, dtype=wide(h).dtype)(h)[:, 0], "features": h}


def act(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return nn.leaky_relu(x, 0.2)


def intervals(sustain: Float[Array, "b t p v"]) -> Float[Array, "b t k"]:
    """The intervals between each two voices, and of each voice from its next step, by the Fourier transform.

    For planes in 0..1 they are the transforms over the interval, modulo `PERIOD` semitones, of the correlations
    sum_p a[p + interval] b[p]: transposing all planes alike does not change them. 0 where one of the two is silent.
    """
    voices = sustain.shape[-1]
    angle = 2 * np.pi / PERIOD * np.outer(np.arange(PITCHES), np.arange(PERIOD // 2 + 1))
    real, imaginary = (
        jnp.einsum("btpv,pk->vbtk", sustain, jnp.asarray(wave(angle), sustain.dtype)) for wave in (np.cos, np.sin)
    )
    one, other = np.triu_indices(voices, 1)

    def later(wave: Array) -> Array:
        return jnp.pad(wave[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))

    a, c = (jnp.concatenate([wave[one], wave]) for wave in (real, imaginary))
    b, d = (jnp.concatenate([wave[other], later(wave)]) for wave in (real, imaginary))
    products = jnp.concatenate([a * b + c * d, c * b - a * d], -1)  # of one with the other's conjugate
    return jnp.moveaxis(products, 0, 2).reshape(*sustain.shape[:2], -1)


def chroma_of(x: Float[Array, "b t p c"]) -> Float[Array, "b beats 12 v"]:
    """How much each pitch class sounds in each voice and beat: the sustain planes summed over octaves and steps."""
    b, _, _, planes = x.shape
    sustain = x[..., planes // 2 :].reshape(b, -1, STEPS_PER_BEAT, OCTAVES, SEMITONES, planes // 2)
    return jnp.mean(sustain, (2, 3)) * OCTAVES


def build(
    spec: ArraySpec, *, latents: int = 128, width: int = 64, critic_width: int = 64, binarise: bool = False
) -> dict[str, nn.Module]:
    """Networks of a GAN of piano rolls of whole bars; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: units of the generator's narrowest layers; the others have multiples of it, the stem 8 times as many.
      critic_width: units of the critic's narrowest layers; the others have multiples of it, the last ones 8 times.
      binarise: the critic is shown hard rolls (note or no note) in training, too, with straight-through gradients;
        otherwise it is shown probabilities in training.

    Raises:
      UsageError: the data are no piano rolls of whole bars.
    """
    if not is_bars(spec.shape):
        raise UsageError(
            f"model muse_gan writes piano rolls of whole bars, [16 a bar, 60, 2 a voice], not arrays of shape "
            f"{spec.shape}: choose music with --data.name chorales or midi_folder"
        )
    return {
        "generator": Generator(spec, latents, width, binarise),
        "discriminator": Discriminator(critic_width, spec.low, spec.high),
    }
