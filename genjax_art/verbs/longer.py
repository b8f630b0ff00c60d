"""Samples that last longer than what the run was trained on."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from genjax_art.errors import UsageError
from genjax_art.keys import fold, key_of
from genjax_art.latents import Latents, Spread, count, example_keys, rows
from genjax_art.run.load import Run
from genjax_art.sampling import CHUNK
from genjax_art.spec import Keys
from genjax_art.verbs.output import Output

REMEDY = "choose a run on clips, such as video-vae-shapes"


def draw(
    run: Run,
    out: Output,
    *,
    frames: int,
    n: int = 16,
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    temperature: float = 1.0,
) -> list[Path]:
    """Samples of any length: they begin as those of `grid` with the same seed, and go on.

    Args:
      frames: how many frames each has.
      n: how many samples.
      seed: of latents and labels.
      label: only this class (of a conditional run).
      truncation: latents within [-t, t] only: more typical, less diverse samples.
      temperature: factor of the latents' standard deviation.

    Raises:
      UsageError: n or frames < 1. RunError: a run of which samples have one length.
    """
    for name, value in (("n", n), ("frames", frames)):
        if value < 1:
            raise UsageError(f"--{name} must be at least 1, got {value}")
    longer = run.ability("longer", REMEDY)
    key, labels = key_of(seed), run.labels(n, seed, label)
    spread = Spread(temperature, truncation)
    z = jax.device_get(longer(run.weights, fold(key, "latents"), n, labels, spread, frames))
    x = decoded(run, z, labels, example_keys(fold(key, "decoder"), n), frames)
    spec = dataclasses.replace(run.spec, shape=(frames, *run.spec.shape[1:]))
    return out.samples(run, x, {**run.about(seed), "frames": str(frames)}, labels, spec)


def decoded(
    run: Run, z: Latents, labels: np.ndarray | None, keys: Keys | None, frames: int
) -> Float[np.ndarray, "n frames *rest"]:
    """Examples of so many frames, so many at a time that a piece has the frames of `sampling.CHUNK` usual ones."""
    n = count(z)
    size = max(1, CHUNK * run.spec.shape[0] // frames)
    pieces = []
    for start in range(0, n, size):
        index = np.arange(start, min(start + size, n))
        some = None if labels is None else labels[index]
        pieces.append(run.decode(rows(z, index), some, None if keys is None else keys[index]))
    return np.concatenate(pieces)
