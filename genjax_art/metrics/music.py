"""Measures of symbolic music, one number per clip, for a whole batch at once; exact at bar lines.

NaN stands where a measure has no meaning (no notes, a single bar ...). `music_metrics` gives all of them by
name; what compares voices is in `music_voices`, and the definitions of the MusPy library, which differ, in
`music_compat`.
"""

import numpy as np
from jaxtyping import Float64, UInt8

from genjax_art.metrics.music_notes import Clips, clips_of, entropy, ratio
from genjax_art.metrics.music_voices import parallels, tonal_distance, voice_crossing
from genjax_art.music.notes import STEPS_PER_BAR, STEPS_PER_BEAT

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "natural minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
LENGTHS = 17  # bins of the note-length histogram: 1 to 16 steps, and longer


def music_metrics(rolls: UInt8[np.ndarray, "b t p c"]) -> dict[str, Float64[np.ndarray, " b"]]:
    """All measures of a batch of binary rolls by name.

    The shares of note lengths are entries of the note-length histogram, in steps.
    """
    clips = clips_of(rolls)
    lengths = note_length_histogram(clips)
    return {
        "pitch_class_entropy": pitch_class_entropy(clips),
        "pitch_range": pitch_range(clips),
        "scale_consistency": scale_consistency(clips),
        "polyphony": polyphony(clips),
        "polyphony_rate_at_least_3": polyphony_rate(clips, at_least_n=3),
        "empty_bar_rate": empty_bar_rate(clips),
        "onset_density": onset_density(clips),
        "groove_consistency": groove_consistency(clips),
        "qualified_note_rate": qualified_note_rate(clips),
        **{f"length_share_{steps}": lengths[:, steps - 1] for steps in (1, 2, 4, 8)},
        "voice_crossing": voice_crossing(clips),
        "parallel_fifths": parallels(clips, semitones=7),
        "parallel_octaves": parallels(clips, semitones=0),
        "tonal_distance": tonal_distance(clips),
    }


def pitch_class_entropy(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Entropy in bits (0 to 3.58) of the pitch classes, each note counted once (Wu & Yang 2020,
    arXiv:2008.01307).
    """
    return entropy(clips.per_clip((clips.pitch % 12, 12)))


def pitch_range(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Highest minus lowest pitch in semitones."""
    used = np.asarray(clips.sounding.any((1, 3)))
    top = used.shape[1] - 1 - np.argmax(used[:, ::-1], 1)
    return np.where(used.any(1), top - np.argmax(used, 1), np.nan).astype(np.float64)


def scale_consistency(clips: Clips, scales: tuple[str, ...] = tuple(SCALES)) -> Float64[np.ndarray, " b"]:
    """Largest share of the notes that lies in one scale, over 12 roots and the `scales` (keys of `SCALES`).

    After Mogren 2016, arXiv:1611.09904. A natural minor scale has the notes of a major one; only the harmonic
    minor adds something.
    """
    masks = np.zeros((12 * len(scales), 12))
    for i, name in enumerate(scales):
        for root in range(12):
            masks[12 * i + root, [(root + degree) % 12 for degree in SCALES[name]]] = 1
    classes = clips.per_clip((clips.pitch % 12, 12))
    return ratio((classes @ masks.T).max(1), classes.sum(1))


def polyphony(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Mean number of different pitches that sound at once, over the steps that are not silent."""
    pitches = clips.sounding.any(3).sum(2)
    return ratio(pitches.sum(1), np.count_nonzero(pitches, 1))


def polyphony_rate(clips: Clips, *, at_least_n: int) -> Float64[np.ndarray, " b"]:
    """Share of all steps in which `at_least_n` or more different pitches sound."""
    return (clips.sounding.any(3).sum(2) >= at_least_n).mean(1)


def empty_bar_rate(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Share of bars in which nothing sounds (Dong et al. 2018, MuseGAN, arXiv:1709.06298)."""
    bars = clips.sounding.reshape(clips.count, clips.steps // STEPS_PER_BAR, -1)
    return 1.0 - bars.any(2).mean(1)


def onset_density(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Notes that start per quarter note."""
    return clips.per_clip() / (clips.steps / STEPS_PER_BEAT)


def groove_consistency(clips: Clips) -> Float64[np.ndarray, " b"]:
    """1 - mean share of steps in which the onset patterns of neighbouring bars differ (Wu & Yang 2020).

    A step of the pattern is set if any note starts there. NaN for a single bar.
    """
    pattern = clips.per_clip((clips.start, clips.steps)).reshape(clips.count, -1, STEPS_PER_BAR) > 0
    if pattern.shape[1] < 2:
        return np.full(clips.count, np.nan)
    return 1.0 - (pattern[:, 1:] != pattern[:, :-1]).mean((1, 2))


def note_length_histogram(clips: Clips) -> Float64[np.ndarray, "b 17"]:
    """Shares of the notes of 1, 2, ... 16 steps and of longer ones."""
    counts = clips.per_clip((np.minimum(clips.length, LENGTHS) - 1, LENGTHS))
    return ratio(counts, counts.sum(1, keepdims=True))


def qualified_note_rate(clips: Clips, at_least: int = 2) -> Float64[np.ndarray, " b"]:
    """Share of notes of `at_least` steps: a low one means fragmented music.

    MuseGAN (Dong et al. 2018) asks for a 32nd note on its grid of 96 steps a bar; on a grid of sixteenths,
    where noise makes notes of one step, the default asks for an eighth.
    """
    qualified = clips.per_clip(((clips.length >= at_least).astype(np.int64), 2))
    return ratio(qualified[:, 1], qualified.sum(1))
