"""Windows of whole bars as examples: what the music sets have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genjax_art.data.contract import DataError
from genjax_art.data.recipe import Examples
from genjax_art.errors import UsageError
from genjax_art.music.notes import PITCHES, STEPS_PER_BAR, Notes, roll_from_notes, window

VOICES = 4


def check_bars(bars: int) -> int:
    """`bars` itself. Raises UsageError for less than one."""
    if bars < 1:
        raise UsageError(f"--data.bars must be at least 1, got {bars}")
    return bars


def variant_of(bars: int, content: str = "") -> str:
    """The name of a set of windows of so many bars, of files with the fingerprint `content`; two bars go without."""
    return "-".join(word for word in (content, f"{bars}bars" if bars != 2 else "") if word)


def roll_features(bars: int) -> dict[str, Any]:
    """A roll "x" of `bars` bars and four voices; which piece it is from, its first bar and transposition.

    The roll is stored in levels 0 and 255, the ends of the range [-1, 1].
    """
    import tensorflow_datasets as tfds

    shape = (bars * STEPS_PER_BAR, PITCHES, 2 * VOICES)
    return {
        "x": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="zlib"),
        "piece": tfds.features.Scalar(np.int32),
        "bar": tfds.features.Scalar(np.int32),  # 0 for the first downbeat
        "transposition": tfds.features.Scalar(np.int32),  # in semitones
    }


def roll_example(notes: Notes, start: int, bars: int, piece: int, bar: int, transposition: int = 0) -> dict[str, Any]:
    """The example of `bars` bars from step `start` on."""
    steps = bars * STEPS_PER_BAR
    moved = Notes(notes.start, notes.length, notes.pitch + transposition, notes.voice)
    x: UInt8[np.ndarray, "t p c"] = roll_from_notes(window(moved, start, steps), steps, VOICES) * np.uint8(255)
    return {"x": x, "piece": piece, "bar": bar, "transposition": transposition}


def some(examples: Examples, bars: int) -> Examples:
    """The examples themselves. Raises DataError after the last one where there is none."""
    number = 0
    for example in examples:
        number += 1
        yield example
    if not number:
        raise DataError(f"no piece of a split has {bars} bars in a row: ask for fewer with --data.bars")


def whole_windows(downbeats: Sequence[int], end: int, bars: int) -> list[tuple[int, int]]:
    """(index, step) of the downbeats from which `bars` full bars of 16 steps follow, up to step `end`."""
    downbeats = list(downbeats)
    nexts = [*downbeats[1:], max(end, downbeats[-1])] if downbeats else []
    full = [after - step >= STEPS_PER_BAR for step, after in zip(downbeats, nexts, strict=True)]
    return [
        (i, step)
        for i, step in enumerate(downbeats)
        if all(full[i : i + bars]) and downbeats[i : i + bars] == [step + k * STEPS_PER_BAR for k in range(bars)]
    ]
