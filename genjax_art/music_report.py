"""How good a music run is, as plain numbers: measures beside their held-out band, copies, reconstruction, latents."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64, UInt8

from genjax_art import sampling
from genjax_art.losses.variational import kl_per_dimension
from genjax_art.media.walk import slerp
from genjax_art.metrics.frechet import frechet_distance
from genjax_art.metrics.music import music_metrics
from genjax_art.metrics.music_copies import copy_rate
from genjax_art.metrics.music_features import music_features
from genjax_art.metrics.music_score import MusicScore, score
from genjax_art.notes import PITCHES, REST, decode_roll, tokens_from_roll
from genjax_art.objectives.method import Method
from genjax_art.spec import ArraySpec, Params

ACTIVE = 0.01  # variance of a latent's mean over the data from which it counts as used: arXiv:1509.00519
STEPS = 8  # of an interpolation
PAIRS = 64


def binary_rolls(x: Float[np.ndarray, "n t p c"], spec: ArraySpec) -> UInt8[np.ndarray, "n t p c"]:
    """Rolls as they are written to files."""
    return decode_roll(x, (spec.low + spec.high) / 2)


def sample_report(
    generated: UInt8[np.ndarray, "n t p c"],
    heldout: UInt8[np.ndarray, "m t p c"],
    pieces: np.ndarray | None,
    training: UInt8[np.ndarray, "k t p c"],
) -> tuple[MusicScore, dict[str, Any]]:
    """The measures beside the held-out band, and the share of bars that occur in the training pieces in some key.

    `frechet_distance` is that of the generated clips' features to the held-out clips', `frechet_distance_training` that
    of as many training clips, evenly chosen. `distinct` is the share of generated clips that differ from all others.
    """
    chosen = np.linspace(0, len(training) - 1, min(len(generated), len(training))).astype(np.int64)
    made, held, known = (music_metrics(rolls) for rolls in (generated, heldout, training[chosen]))
    bands = score(made, held, pieces)
    return bands, {
        "inside": bands.inside,
        "measures": len(bands.bands),
        "bands": {
            b.name: {"value": b.value, "low": b.low, "high": b.high, "inside": bool(b.inside)} for b in bands.bands
        },
        "frechet_distance": frechet_distance(music_features(made), music_features(held)),
        "frechet_distance_training": frechet_distance(music_features(known), music_features(held)),
        "copy_rate": mean_of(copy_rate(generated, training)),
        "copy_rate_heldout": mean_of(copy_rate(heldout, training)),
        "distinct": len({roll.tobytes() for roll in np.packbits(generated, axis=-1)}) / len(generated),
    }


def mean_of(values: Float64[np.ndarray, " n"]) -> float:
    """The mean without NaN; NaN where nothing else is, as for silence."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def latent_report(
    method: Method, params: Params, extras: Mapping[str, Any], x: Float[np.ndarray, "n t p c"], spec: ArraySpec
) -> dict[str, Any]:
    """What an encoder keeps of held-out pieces `x`, and how its latent space interpolates.

    `method.generate` should take the likeliest tokens (temperature 0). Reconstructions are from the mean of q(z|x).
    `note_accuracy_*` is the share of the notes that are begun at the right step in the right pitch,
    `pitch_accuracy_free` the share of steps in which a voice sounds (or rests) as it should.
    """
    assert method.encode is not None
    mu, logvar = sampling.encode(method, params, x)
    kl = np.asarray(kl_per_dimension(jnp.asarray(mu), jnp.asarray(logvar)))
    made = binary_rolls(sampling.generate(method, params, extras, mu, None), spec)
    true = binary_rolls(x, spec)
    report: dict[str, Any] = {
        "kl_nats": float(kl.sum(1).mean()),
        "active_units": int((mu.var(0) > ACTIVE).sum()),
        "latents": mu.shape[1],
        "note_accuracy_free": note_accuracy(tokens_of(made), tokens_of(true)),
        "pitch_accuracy_free": float((sounding(made) == sounding(true)).mean()),
    }
    if method.token_logits is not None:
        report["note_accuracy_teacher_forced"] = note_accuracy(
            sampling.likeliest_tokens(method, params, mu, x), tokens_of(true)
        )
    return report | interpolation_report(method, params, extras, mu, spec)


def interpolation_report(
    method: Method, params: Params, extras: Mapping[str, Any], mu: Float[np.ndarray, "n z"], spec: ArraySpec
) -> dict[str, Any]:
    """Hamming distance to the first piece along great circles between the means of held-out pieces.

    `interpolation` has the mean share of steps and voices that sound another pitch than in the first piece, from 0 at
    one end; `interpolation_rising` is the share of steps in which it does not fall, pair by pair (Roberts et al. 2018,
    arXiv:1803.05428).
    """
    pairs = min(PAIRS, len(mu) // 2)
    first, last = mu[:pairs], mu[-pairs:]
    t = np.linspace(0.0, 1.0, STEPS + 1, dtype=np.float32)
    z = np.concatenate([slerp(first, last, np.full((pairs, 1), step, np.float32)) for step in t])
    made = sounding(binary_rolls(sampling.generate(method, params, extras, z, None), spec))
    made = made.reshape(STEPS + 1, pairs, -1)
    distance: Float64[np.ndarray, "s pairs"] = (made != made[:1]).mean(2)
    return {
        "interpolation": [float(d) for d in distance.mean(1)],
        "interpolation_rising": float((np.diff(distance, axis=0) >= 0).mean()),
    }


def tokens_of(rolls: UInt8[np.ndarray, "n t p c"]) -> np.ndarray:
    """The tokens [n, steps, voices] of each piece."""
    return np.stack([tokens_from_roll(roll) for roll in rolls])


def sounding(rolls: UInt8[np.ndarray, "n t p c"]) -> np.ndarray:
    """The row of the highest pitch that each voice sounds, [n, steps, voices]; `REST` in silence."""
    sustain = rolls[..., rolls.shape[-1] // 2 :] > 0
    top = PITCHES - 1 - np.argmax(sustain[:, :, ::-1], 2)
    return np.where(sustain.any(2), top, REST)


def note_accuracy(made: np.ndarray, true: np.ndarray) -> float:
    """Share of all notes of `true` that `made` starts at the same step, voice and pitch; NaN without notes."""
    starts = true < PITCHES
    return float((made == true)[starts].mean()) if starts.any() else float("nan")


__all__ = ["binary_rolls", "interpolation_report", "latent_report", "sample_report"]
