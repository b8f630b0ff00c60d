"""Measures of how voices move together. Voices are ordered from high to low; of a chord, a voice's top note
counts.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int

from genjax_art.metrics.music_notes import Clips, ratio
from genjax_art.music.notes import LOWEST, STEPS_PER_BAR, STEPS_PER_BEAT

SILENT = -1


def top_pitches(clips: Clips) -> Int[np.ndarray, "b t v"]:
    """The highest MIDI pitch of each voice in each step; -1 where it is silent."""
    rows = clips.sounding.shape[2]
    top = rows - 1 - np.argmax(clips.sounding[:, :, ::-1], 2)
    return np.where(clips.sounding.any(2), top + LOWEST, SILENT)


def voice_crossing(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Share of crossed pairs (the lower of two neighbouring voices is above the upper) among those that
    sound.

    Counted in every step. NaN where no two neighbouring voices ever sound together.
    """
    pitch = top_pitches(clips)
    upper, lower = pitch[:, :, :-1], pitch[:, :, 1:]
    both = (upper != SILENT) & (lower != SILENT)
    pairs = both.sum((1, 2))
    crossed = (both & (lower > upper)).sum((1, 2))
    return ratio(crossed, pairs)


def parallels(clips: Clips, *, semitones: int) -> Float64[np.ndarray, " b"]:
    """Parallel motions per bar of two voices in a perfect interval: 7 semitones for fifths, 0 for octaves.

    Two voices move from one step to the next in the same direction, both to a new pitch, and are the interval
    apart (octaves added or not; unisons count as octaves) before and after. All pairs of voices count.
    """
    pitch = top_pitches(clips)
    before, after = pitch[:, :-1], pitch[:, 1:]
    direction = np.where((before != SILENT) & (after != SILENT), np.sign(after - before), 0)
    found = np.zeros(clips.count)
    for i, j in combinations(range(pitch.shape[2]), 2):
        together = (direction[..., i] == direction[..., j]) & (direction[..., i] != 0)
        apart = np.abs(pitch[..., i] - pitch[..., j]) % 12 == semitones
        found += (together & apart[:, :-1] & apart[:, 1:]).sum(1)
    return found / (clips.steps // STEPS_PER_BAR)


def tonal_centroid(chroma: Float64[np.ndarray, "*n 12"]) -> Float64[np.ndarray, "*n 6"]:
    """The centroid on the circles of fifths, minor and major thirds; the origin for an empty chroma.

    Harte, Sandler & Gasser, "Detecting harmonic change in musical audio", 2006, with radii
    1, 1 and 0.5.
    """
    pitch_class = np.arange(12)
    rows = []
    for radius, angle in ((1.0, 7 * np.pi / 6), (1.0, 3 * np.pi / 2), (0.5, 2 * np.pi / 3)):
        rows += [radius * np.sin(pitch_class * angle), radius * np.cos(pitch_class * angle)]
    return chroma @ np.stack(rows, 1) / np.maximum(chroma.sum(-1, keepdims=True), 1.0)


def tonal_distance(clips: Clips) -> Float64[np.ndarray, " b"]:
    """Mean distance of the tonal centroids of two voices, over all pairs and quarter notes in which both
    sound.

    Small where voices share a harmony (MuseGAN, Dong et al. 2018, section "Evaluation", per quarter note
    here).
    """
    rows = np.arange(clips.sounding.shape[2])
    to_class = ((rows + LOWEST)[:, None] % 12 == np.arange(12)).astype(np.float64)
    beats = clips.sounding.reshape(clips.count, -1, STEPS_PER_BEAT, *clips.sounding.shape[2:]).sum(2)
    chroma = np.einsum("btpv,pc->btvc", beats.astype(np.float64), to_class, optimize=True)
    centroid, sounds = tonal_centroid(chroma), chroma.any(-1)
    total, pairs = np.zeros(clips.count), np.zeros(clips.count)
    for i, j in combinations(range(chroma.shape[2]), 2):
        both = sounds[:, :, i] & sounds[:, :, j]
        total += (np.linalg.norm(centroid[:, :, i] - centroid[:, :, j], axis=-1) * both).sum(1)
        pairs += both.sum(1)
    return ratio(total, pairs)
