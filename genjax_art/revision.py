"""The user's own music through a trained run: varied in latent space, led to another piece, or continued by bars."""

import logging
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8

from genjax_art import sampling
from genjax_art.build import Plan
from genjax_art.data.voices import assign_voices
from genjax_art.drawing import Which, metadata
from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold
from genjax_art.media.music import join_rolls, write_song
from genjax_art.media.synth import Sound
from genjax_art.media.walk import slerp
from genjax_art.midi import Song, read_midi
from genjax_art.notes import STEPS_PER_BAR, decode_roll, roll_from_notes, window
from genjax_art.train.state import TrainState


def read_bars(file: Path, voices: int) -> tuple[UInt8[np.ndarray, "steps 60 planes"], float]:
    """The 4/4 bars of a MIDI file as one roll of so many voices, and its tempo in quarter notes per minute.

    The first section in 4/4 is read. Notes beyond the voices or the roll's range are left out, which is reported.

    Raises:
      MusicError: not a MIDI file, damaged, empty, drums only or nowhere in 4/4.
      RunError: no note is left.
    """
    song = read_midi(file)
    notes, left_out = assign_voices(song.notes, voices)
    start, end = song.sections[0]
    steps = -(-(end - start) // STEPS_PER_BAR) * STEPS_PER_BAR
    notes = window(notes, start, steps)
    if not len(notes):
        raise RunError(f"{file} has no notes from MIDI pitch 30 to 89 in its first section in 4/4; transpose it")
    if left_out or song.moved or len(song.sections) > 1:
        logging.getLogger(__name__).warning(
            "%s: %d notes left out, %d moved to the grid of sixteenths, %d of %d sections in 4/4 read",
            *(file, left_out, song.moved, 1, len(song.sections)),
        )
    last = -(-int(notes.end.max()) // STEPS_PER_BAR) * STEPS_PER_BAR
    return roll_from_notes(notes, steps, voices)[:last], song.tempo


def vary(
    plan: Plan,
    state: TrainState,
    out: Path,
    *,
    midi: Path,
    amount: float,
    n: int,
    seed: int,
    which: Which = "default",
    sound: Sound | None = None,
) -> list[Path]:
    """n variations of the music in `midi`, each as long as it is.

    Every window of it is encoded to its mean mu; z = sqrt(1 - amount^2) mu + amount e with standard normal e. At 0 it
    is what the run makes of the piece, at 1 something new.

    Raises:
      UsageError: n < 1 or an amount outside 0..1. RunError: no encoder, or a run on something else than music.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1 variation, got {n}")
    if not 0 <= amount <= 1:
        raise UsageError(f"--amount must lie in 0 to 1, got {amount:g}")
    roll, tempo = _music(plan, midi)
    params, extras, _ = sampling.parameters(plan.method, state, which)
    mu, _ = sampling.encode(plan.method, params, _windows(roll, plan))
    noise = jax.random.normal(fold(jax.random.key(seed), "variations"), (n, *mu.shape))
    z = np.sqrt(1 - amount**2) * mu[None] + amount * np.asarray(noise)
    x = sampling.generate(plan.method, params, extras, z.reshape(-1, mu.shape[1]).astype(np.float32), None)
    about = {**metadata(plan, state, seed, which), "of": midi.name, "amount": f"{amount:g}"}
    paths = []
    for i, pieces in enumerate(np.split(_binary(x, plan), n)):
        notes = window(join_rolls(pieces).notes, 0, len(roll))  # without what fills the last window up
        name = out if n == 1 else out.with_name(f"{out.stem}-{i}{out.suffix}")
        paths += write_song(name, Song(notes, len(roll), tempo), {**about, "index": str(i)}, sound)
    return paths


def lead(
    plan: Plan,
    state: TrainState,
    out: Path,
    *,
    midi: tuple[Path, Path],
    n: int,
    seed: int,
    which: Which = "default",
    sound: Sound | None = None,
) -> list[Path]:
    """From the first piece to the second in n stages, one after another in one song: a walk between two pieces.

    Both are encoded to means mu; stage k decodes the point k / (n - 1) of the great circle between them, window by
    window, so the ends are what the run makes of the pieces. Stages are as long as the shorter piece, the tempo is that
    of the first. Source: Roberts et al. 2018 (arXiv:1803.05428).

    Raises:
      UsageError: n < 2. RunError: no encoder, or a run on something else than music.
    """
    if n < 2:
        raise UsageError(f"a walk needs --n of at least 2 stages from the first piece to the second, got {n}")
    (first, tempo), (last, _) = (_music(plan, file) for file in midi)
    steps = min(len(first), len(last))
    params, extras, _ = sampling.parameters(plan.method, state, which)
    start, end = (sampling.encode(plan.method, params, _windows(roll[:steps], plan))[0] for roll in (first, last))
    shares = np.linspace(0.0, 1.0, n, dtype=np.float32)
    z = np.concatenate([slerp(start, end, np.full((len(start), 1), share)) for share in shares])
    stages = np.split(_binary(sampling.generate(plan.method, params, extras, z, None), plan), n)
    rolls = [stage.reshape(-1, *stage.shape[2:])[:steps] for stage in stages]
    about = {**metadata(plan, state, seed, which), "from": midi[0].name, "to": midi[1].name, "stages": str(n)}
    return write_song(out, Song(join_rolls(np.stack(rolls)).notes, n * steps, tempo), about, sound)


def proceed(
    plan: Plan,
    state: TrainState,
    out: Path,
    *,
    midi: Path,
    n: int,
    seed: int,
    which: Which = "default",
    sound: Sound | None = None,
) -> list[Path]:
    """The music in `midi` and n bars that follow it, half a window at a time, each given the half before.

    Raises:
      UsageError: n < 1. RunError: a run that cannot continue, or on something else than music.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1 bar, got {n}")
    roll, tempo = _music(plan, midi)
    if plan.method.proceed is None:
        raise RunError(f"a run of {plan.name} cannot continue music: choose a run of music-vae or music-vae-small")
    params, _, _ = sampling.parameters(plan.method, state, which)
    steps, own = plan.spec.shape[0], len(roll)
    given = steps // STEPS_PER_BAR // 2 * STEPS_PER_BAR
    go_on = jax.jit(plan.method.proceed, static_argnums=2)
    key = fold(jax.random.key(seed), "continuation")
    while len(roll) < own + n * STEPS_PER_BAR:
        before = np.pad(roll, ((given, 0), (0, 0), (0, 0)))[len(roll) :]  # a short piece follows silence
        x = np.pad(before, ((0, steps - given), (0, 0), (0, 0)))
        made = go_on(params, _in_range(x[None], plan), given, jax.random.fold_in(key, len(roll)))
        roll = np.concatenate([roll, _binary(np.asarray(made), plan)[0, given:]])
    roll = roll[: own + n * STEPS_PER_BAR]
    song = join_rolls(roll[None])
    about = {**metadata(plan, state, seed, which), "of": midi.name, "own_bars": str(own // STEPS_PER_BAR)}
    return write_song(out, Song(song.notes, len(roll), tempo), about, sound)


def _music(plan: Plan, midi: Path) -> tuple[UInt8[np.ndarray, "steps 60 planes"], float]:
    if plan.spec.kind != "roll":
        raise RunError(f"a run of {plan.name} on arrays of kind {plan.spec.kind} reads no MIDI: train it on music")
    return read_bars(midi, plan.spec.channels // 2)


def _windows(roll: UInt8[np.ndarray, "steps 60 planes"], plan: Plan) -> Float[np.ndarray, "n t 60 planes"]:
    """Windows of the run's length one after another, the last one filled with silence."""
    steps = plan.spec.shape[0]
    filled = np.pad(roll, ((0, -len(roll) % steps), (0, 0), (0, 0)))
    return _in_range(filled.reshape(-1, *plan.spec.shape), plan)


def _in_range(roll: UInt8[np.ndarray, "*n t 60 planes"], plan: Plan) -> Float[np.ndarray, "*n t 60 planes"]:
    low, high = np.float32(plan.spec.low), np.float32(plan.spec.high)
    return low + (high - low) * roll.astype(np.float32)


def _binary(x: Float[np.ndarray, "n t 60 planes"], plan: Plan) -> UInt8[np.ndarray, "n t 60 planes"]:
    return decode_roll(x, (plan.spec.low + plan.spec.high) / 2)
