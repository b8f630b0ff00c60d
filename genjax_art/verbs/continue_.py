"""A file of the user's and what could follow it."""

from pathlib import Path

import jax
import numpy as np

from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold, key_of
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(run: Run, out: Output, *, file: Path, n: int = 8, seed: int = 0) -> list[Path]:
    """A file of yours and what follows it, given the half window before.

    Music is made half a window at a time, each given the half before; of a clip all that follows is made at once, so
    that its content stays. Of a clip shorter than half a window all of it is given.

    Args:
      file: what is to be continued.
      n: how much follows: bars of music, frames of a clip.
      seed: of what is drawn.

    Raises:
      UsageError: n < 1. RunError: a run that cannot continue, or a medium that reads no files or has no time.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1, got {n}")
    reading = run.read(file)
    proceed = run.ability(
        "proceed", "choose a run of a VAE of music or clips, such as music-vae-small or video-vae-shapes"
    )
    unit, whole = run.medium.unit, reading.whole
    if unit is None:
        raise RunError(f"arrays of kind {run.spec.kind} have no time to continue in")
    steps, own = run.spec.shape[0], len(whole)
    half = steps // unit // 2 * unit
    at_once = "longer" in run.method.abilities
    given, new = (min(own, max(half, unit)), n * unit) if at_once else (half, steps - half)
    go_on = jax.jit(proceed, static_argnums=2)
    key = fold(key_of(seed), "continuation")
    rest = [(0, 0)] * (whole.ndim - 1)
    low = np.float32(run.spec.low)
    while len(whole) < own + n * unit:
        before = np.pad(whole, [(given, 0), *rest], constant_values=low)[len(whole) :]  # short music follows silence
        x = np.pad(before, [(0, new), *rest], constant_values=low)
        made = np.asarray(go_on(run.weights, x[None], given, jax.random.fold_in(key, len(whole))))
        whole = np.concatenate([whole, made[0, given:]])
    name = run.medium.unit_name
    about = {**run.about(seed), "of": reading.name, f"own_{name}": str(own // unit)}
    return out.wholes(run, [whole[: own + n * unit]], about, rate=reading.rate, in_one=True)
