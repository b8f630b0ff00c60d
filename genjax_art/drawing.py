"""From a run folder to files: grids and walks, each file telling where it comes from."""

from pathlib import Path
from typing import Literal

import jax
import numpy as np

from genjax_art import runs, sampling
from genjax_art.build import Plan
from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold
from genjax_art.media.synth import Sound
from genjax_art.media.walk import closed_walk
from genjax_art.media.writers import write_samples
from genjax_art.objectives.method import draw_latents
from genjax_art.train import seeds
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.state import TrainState, state_shapes

Which = Literal["raw", "ema", "default"]
FRAMES = 24  # of a walk, from one sample to the next
PIECES = 4  # the same of music, where a frame is a whole piece
WALKS = {"roll": (".mid", ".wav", ".png")}  # files where none is asked for
GRIDS = {"roll": (".mid", ".wav", ".png")}


def load_state(plan: Plan, folder: Path, checkpoint: str = "latest", member: int = 0) -> TrainState:
    """The state of a run at `latest`, `best` or a step, in host memory; of several seeds that of one `member`.

    Raises:
      UsageError: another word. RunError: no such checkpoint or member.
    """
    if not 0 <= member < plan.seeds:
        raise RunError(f"{folder} has no member {member}: it was trained with --seeds {plan.seeds}, counted from 0")
    if checkpoint not in ("latest", "best") and not checkpoint.isdigit():
        raise UsageError(f"--checkpoint must be latest, best or a step, got {checkpoint!r}")
    if runs.last_step(folder) == 0:
        raise RunError(f"no checkpoint in {folder} yet: train on with --resume, or wait for its first save")
    with Checkpoints(folder / runs.CHECKPOINTS) as checkpoints:
        step = int(checkpoint) if checkpoint.isdigit() else checkpoints.best_step() if checkpoint == "best" else None
        if checkpoint == "best" and step is None:
            raise RunError(f"no checkpoint in {folder} has a score: use --checkpoint latest or a step")
        shapes = seeds.shapes_of(state_shapes(plan.method.players, plan.method.init, plan.ema), plan.seeds)
        state = checkpoints.restore(shapes, step)
    return state if plan.seeds == 1 else seeds.member(state, member)


def metadata(plan: Plan, state: TrainState, seed: int, which: Which) -> dict[str, str]:
    """What every file carries: preset, step, seed, and which parameters by kind and hash."""
    params, _, kind = sampling.parameters(plan.method, state, which=which)
    return {
        "preset": plan.name,
        "step": str(int(state.step)),
        "seed": str(seed),
        "parameters": kind,
        "parameter_hash": sampling.parameter_hash(params),
    }


def grid(
    plan: Plan,
    state: TrainState,
    out: Path,
    *,
    n: int,
    seed: int,
    label: str | None = None,
    truncation: float | None = None,
    which: Which = "default",
    sound: Sound | None = None,
) -> list[Path]:
    """n independent samples, written as the ending of `out` asks; see the medium's `write_samples`."""
    x = sampling.sample(plan.method, state, n=n, seed=seed, label=label, truncation=truncation, which=which)
    labels = sampling.labels_for(plan.method, n, seed, label)
    return write_samples(out, x, plan.spec, metadata(plan, state, seed, which), labels, sound)


def default_outs(plan: Plan, folder: Path, what: str) -> list[Path]:
    """Where in a run folder goes what no file is named for; a name without an ending stands for several files."""
    endings = GRIDS.get(plan.spec.kind, (".png",)) if what == "grid" else ("",)
    return [folder / f"{what}{ending}" for ending in endings]


def walk(
    plan: Plan,
    state: TrainState,
    out: Path,
    *,
    n: int,
    seed: int,
    label: str | None = None,
    truncation: float | None = None,
    which: Which = "default",
    sound: Sound | None = None,
) -> list[Path]:
    """A film (of music: one piece) that passes n samples on great circles and ends where it began.

    Where `out` has no ending: GIF and MP4, of music MIDI, WAV and PNG.

    Raises:
      UsageError: n < 2.
    """
    if n < 2:
        raise UsageError(f"a walk needs --n of at least 2 samples to pass, got {n}")
    key = jax.random.key(seed)
    anchors = draw_latents(fold(key, "latents"), n, plan.method.latents, truncation)
    z = closed_walk(np.asarray(anchors), n * (PIECES if plan.spec.kind == "roll" else FRAMES))
    params, extras, _ = sampling.parameters(plan.method, state, which=which)
    one = sampling.labels_for(plan.method, 1, seed, label)  # a walk keeps to one class
    labels = None if one is None else np.repeat(one, len(z))
    x = sampling.generate(plan.method, params, extras, z, labels)
    endings = [out.suffix] if out.suffix else WALKS.get(plan.spec.kind, (".gif", ".mp4"))
    about = metadata(plan, state, seed, which)
    outs = [out.with_suffix(ending) for ending in endings]
    return [path for one in outs for path in write_samples(one, x, plan.spec, about, labels, sound)]
