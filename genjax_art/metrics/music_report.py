"""How good a music run is, as plain numbers: measures beside their held-out band, copies, reconstruction, latents."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, UInt8

from genjax_art.latents import count, great_circles, joined, rows
from genjax_art.metrics.frechet import frechet_distance
from genjax_art.metrics.music import music_metrics
from genjax_art.metrics.music_copies import copy_rate
from genjax_art.metrics.music_features import music_features
from genjax_art.metrics.music_score import score
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject
from genjax_art.music.notes import PITCHES, REST, binary_rolls, tokens_from_roll

ACTIVE = 0.01  # variance of a latent's mean over the data from which it counts as used: arXiv:1509.00519
STEPS = 8  # of an interpolation
PAIRS = 64


def measure(subject: Subject) -> dict[str, Any]:
    """Measures of the samples beside the held-out band, copies of training pieces, and what an encoder keeps.

    Needs piano rolls. Numbers as in `sample_report`, `latent_report`.
    """
    held = subject.held.take(np.arange(len(subject.held)))
    training = subject.known.take(np.arange(len(subject.known)))
    known = training["x"][training["transposition"] == 0] if "transposition" in training else training["x"]
    x = subject.in_range(held["x"])
    report = sample_report(
        binary_rolls(subject.made, subject.spec),
        binary_rolls(x, subject.spec),
        held.get("piece"),
        (known > known.max() / 2).astype(np.uint8),
    )
    return report | (latent_report(subject.run, x) if subject.run.method.encode else {})


def sample_report(
    generated: UInt8[np.ndarray, "n t p c"],
    heldout: UInt8[np.ndarray, "m t p c"],
    pieces: np.ndarray | None,
    training: UInt8[np.ndarray, "k t p c"],
) -> dict[str, Any]:
    """The measures beside the held-out band, and the share of bars that occur in the training pieces in some key.

    `frechet_distance` is that of the generated clips' features to the held-out clips', `frechet_distance_training` that
    of as many training clips, evenly chosen. `distinct` is the share of generated clips that differ from all others.
    """
    chosen = evenly(len(training), len(generated))
    made, held, known = (music_metrics(rolls) for rolls in (generated, heldout, training[chosen]))
    bands = score(made, held, pieces)
    return {
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


def latent_report(run: Any, x: Float[np.ndarray, "n t p c"]) -> dict[str, Any]:
    """What an encoder keeps of held-out pieces `x`, and how its latent space interpolates.

    Pieces are decoded to the likeliest tokens. Reconstructions are from the mean of q(z|x).
    `note_accuracy_*` is the share of the notes that are begun at the right step in the right pitch,
    `pitch_accuracy_free` the share of steps in which a voice sounds (or rests) as it should.
    """
    z = run.encode(x)
    made, true = (binary_rolls(rolls, run.spec) for rolls in (run.decode(z), x))
    report: dict[str, Any] = {
        "note_accuracy_free": note_accuracy(tokens_of(made), tokens_of(true)),
        "pitch_accuracy_free": float((sounding(made) == sounding(true)).mean()),
    }
    abilities = run.method.abilities
    if "posterior" in abilities:
        mu, logvar = run.apply("posterior", x, None)
        kl = 0.5 * (np.expm1(logvar) - logvar + mu**2)  # to N(0, 1), nats: arXiv:1312.6114, appendix B
        report |= {
            "kl_nats": float(kl.reshape(len(kl), -1).sum(1).mean()),
            "active_units": int((mu.var(0) > ACTIVE).sum()),
            "latents": int(np.prod(mu.shape[1:])),
        }
    if "token_logits" in abilities:
        likeliest = run.apply("token_logits", z, x, then=lambda logits: logits.argmax(-1))
        report["note_accuracy_teacher_forced"] = note_accuracy(likeliest, tokens_of(true))
    return report | interpolation_report(run, z)


def interpolation_report(run: Any, z: Any) -> dict[str, Any]:
    """Hamming distance to the first piece along the ways between the latents of held-out pieces.

    `interpolation` has the mean share of steps and voices that sound another pitch than in the first piece, from 0 at
    one end; `interpolation_rising` is the share of steps in which it does not fall, pair by pair (Roberts et al. 2018,
    arXiv:1803.05428).
    """
    pairs = min(PAIRS, count(z) // 2)
    first, last = rows(z, slice(pairs)), rows(z, slice(-pairs, None))
    between = run.method.abilities.get("between", great_circles)
    steps = np.linspace(0.0, 1.0, STEPS + 1, dtype=np.float32)
    way = joined([between(first, last, np.full(pairs, step, np.float32)) for step in steps])
    made = sounding(binary_rolls(run.decode(way), run.spec)).reshape(STEPS + 1, pairs, -1)
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
