"""How much of generated music is copied from the training pieces, in any key."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, UInt8

from genjax_art.metrics.music_notes import ratio
from genjax_art.music.notes import STEPS_PER_BAR, MusicError

CHUNK = 1024  # windows at once, which bounds the memory


def copy_rate(
    generated: UInt8[np.ndarray, "b t p c"], training: UInt8[np.ndarray, "n s p d"], bars: int = 1
) -> Float64[np.ndarray, " b"]:
    """Share of each clip's windows of `bars` bars that a training clip has too, at any bar, in any
    transposition.

    Two windows are the same if all their notes are, up to one shift of all pitches (which covers the twelve
    keys, whichever range they were transposed to). A note held into a window counts as starting there.
    Silent windows are left out; NaN where nothing else is. Put the rate of held-out music beside it: real
    pieces share bars too.

    Raises:
      MusicError: clips shorter than `bars`, or of different voices.
    """
    if generated.shape[2:] != training.shape[2:]:
        raise MusicError(f"generated {generated.shape} and training {training.shape} rolls have different planes")
    known = {window for _, windows in _windows(training, bars) for window in windows if window is not None}
    copied, counted = np.zeros(len(generated)), np.zeros(len(generated))
    for clips, windows in _windows(generated, bars):
        for clip, window in zip(clips, windows, strict=True):
            counted[clip] += window is not None
            copied[clip] += window is not None and window in known
    return ratio(copied, counted)


def _windows(rolls: np.ndarray, bars: int) -> Iterator[tuple[np.ndarray, list[bytes | None]]]:
    """Clip numbers and key-free contents of all windows; None for silence."""
    count, steps = len(rolls), bars * STEPS_PER_BAR
    if bars < 1 or rolls.shape[1] < steps:
        raise MusicError(f"clips of {rolls.shape[1]} steps have no window of {bars} bars; use bars from 1 on")
    for first in range(0, rolls.shape[1] - steps + 1, STEPS_PER_BAR):
        for begin in range(0, count, CHUNK):
            part = rolls[begin : begin + CHUNK, first : first + steps]
            yield np.arange(begin, begin + len(part)), _keyless(part)


def _keyless(rolls: np.ndarray) -> list[bytes | None]:
    voices = rolls.shape[-1] // 2
    rolls = (rolls > 0).astype(np.uint8)
    rolls[:, 0, :, :voices] = rolls[:, 0, :, voices:]
    used = np.asarray(rolls.any((1, 3)))
    rows = (np.argmax(used, 1)[:, None] + np.arange(used.shape[1])) % used.shape[1]  # lowest pitch to row 0
    bits = np.packbits(np.take_along_axis(rolls, rows[:, None, :, None], 2).reshape(len(rolls), -1), axis=1)
    return [row.tobytes() if any_note else None for row, any_note in zip(bits, np.asarray(used.any(1)), strict=True)]
