"""The measures of MusPy 0.5.0 by its own definitions, for comparison with published numbers.

Number for number what `muspy.metrics` gives for the clip as a `Music` of 4 time steps a quarter note and a
track per voice. Its time ends with the last note, and it counts one bar (or beat) more than have begun where
that note ends on a bar line, which is also held to sound in the bar after it: an empty bar in a clip of four
may count as 0.0, and four equal bars as a groove consistency of 0.9375. Our own definitions are in `music`.
"""

import numpy as np
from jaxtyping import Float64, Int

from genjax_art.metrics.music_notes import Clips, entropy, ratio
from genjax_art.music.notes import STEPS_PER_BAR, STEPS_PER_BEAT

MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def muspy_metrics(clips: Clips) -> dict[str, Float64[np.ndarray, " b"]]:
    """The measures by MusPy's names; `polyphony_rate` with its default threshold (more than 2 pitches)."""
    length = np.zeros(clips.count, np.int64)
    np.maximum.at(length, clips.clip, clips.end)
    pitches = clips.per_clip((clips.pitch, 128))
    classes = clips.per_clip((clips.pitch % 12, 12))
    at_once = clips.sounding.any(3).sum(2)
    used = pitches > 0
    highest, lowest = 127 - np.argmax(used[:, ::-1], 1), np.argmax(used, 1)
    return {
        "n_pitches_used": used.sum(1).astype(np.float64),
        "n_pitch_classes_used": (classes > 0).sum(1).astype(np.float64),
        "pitch_range": np.where(length > 0, highest - lowest, 0).astype(np.float64),
        "empty_beat_rate": _empty_rate(clips, length, STEPS_PER_BEAT),
        "empty_measure_rate": _empty_rate(clips, length, STEPS_PER_BAR),
        "polyphony": ratio(at_once.sum(1), np.count_nonzero(at_once, 1)),
        "polyphony_rate": ratio((at_once > 2).sum(1), length),
        "scale_consistency": _scale_consistency(classes),
        "pitch_entropy": entropy(pitches),
        "pitch_class_entropy": entropy(classes),
        "groove_consistency": _groove_consistency(clips, length),
    }


def _scale_consistency(classes: Int[np.ndarray, "b 12"]) -> Float64[np.ndarray, " b"]:
    masks = np.zeros((24, 12), np.int64)
    for i, degrees in enumerate(MODES.values()):
        for root in range(12):
            masks[12 * i + root, [(root + degree) % 12 for degree in degrees]] = 1
    return ratio((classes @ masks.T).max(1), classes.sum(1))


def _empty_rate(clips: Clips, length: Int[np.ndarray, " b"], unit: int) -> Float64[np.ndarray, " b"]:
    """Share of units (beats, bars) that no note touches, its end included, of `length // unit + 1`."""
    units = clips.steps // unit + 1
    began = clips.per_clip((clips.start // unit, units + 1))
    ended = clips.per_clip((clips.end // unit + 1, units + 1))
    touched = np.cumsum(began - ended, 1)[:, :units] > 0
    return np.where(length > 0, 1 - touched.sum(1) / (length // unit + 1), np.nan)


def _groove_consistency(clips: Clips, length: Int[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
    bars = clips.steps // STEPS_PER_BAR + 1
    onsets = clips.per_clip((clips.start, bars * STEPS_PER_BAR))
    pattern = onsets.reshape(clips.count, bars, STEPS_PER_BAR) > 0
    counted = length // STEPS_PER_BAR + 1
    pairs = np.arange(bars - 1) < (counted - 1)[:, None]
    differ = ((pattern[:, 1:] != pattern[:, :-1]).sum(2) * pairs).sum(1)
    return np.where(counted >= 2, 1 - differ / (STEPS_PER_BAR * np.maximum(counted - 1, 1)), np.nan)
