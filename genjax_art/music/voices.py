"""Any number of tracks, with or without chords, to four voices of one note at a time, from high to low."""

import numpy as np

from genjax_art.music.notes import LOWEST, PITCHES, Notes, notes_from_rows


def assign_voices(notes: Notes, voices: int) -> tuple[Notes, int]:
    """`notes` in at most `voices` voices that never overlap themselves, and the number of notes left out.

    `notes.voice` numbers the tracks. Up to `voices` tracks of one note at a time each keep a voice, ordered by
    mean pitch. Otherwise the highest such track, the melody, keeps voice 0, and all others (or all, without such a
    track) are the accompaniment: its notes go, in order of time and from high to low, to the first of its voices
    that is free. Left out are notes for which none is free and pitches outside the roll.
    """
    fits = (notes.pitch >= LOWEST) & (notes.pitch < LOWEST + PITCHES)
    inside = notes.where(fits)
    if not len(inside):
        return inside, len(notes)
    mean = {int(track): float(inside.pitch[inside.voice == track].mean()) for track in np.unique(inside.voice)}
    tracks = sorted(mean, key=lambda track: -mean[track])
    single = [track for track in tracks if _one_at_a_time(inside.where(inside.voice == track))]
    if len(single) == len(tracks) <= voices:
        rank = np.asarray([tracks.index(track) if track in mean else 0 for track in range(max(tracks) + 1)])
        return Notes(inside.start, inside.length, inside.pitch, rank[inside.voice]), len(notes) - len(inside)
    melody = single[:1] if len(tracks) > 1 else []
    leads = np.isin(inside.voice, melody)
    rows = [(s, n, p, 0) for s, n, p, _ in inside.where(leads).rows.tolist()]
    rows += _allocate(inside.where(~leads), len(melody), voices)
    return notes_from_rows(rows), len(notes) - len(rows)


def _one_at_a_time(notes: Notes) -> bool:
    rows = notes.rows  # of one voice, by start
    return bool((rows[1:, 0] >= rows[:-1, 0] + rows[:-1, 1]).all())


def _allocate(notes: Notes, first: int, voices: int) -> list[tuple[int, int, int, int]]:
    """Rows of the notes that find a free voice among `first` ... `voices` - 1."""
    rows: list[tuple[int, int, int, int]] = []
    free_at = dict.fromkeys(range(first, voices), 0)
    order = np.lexsort((-notes.pitch, notes.start))
    for start, length, pitch, _ in np.stack([notes.start, notes.length, notes.pitch, notes.voice], 1)[order].tolist():
        free = [voice for voice, step in free_at.items() if step <= start]
        if free:
            free_at[free[0]] = start + length
            rows.append((start, length, pitch, free[0]))
    return rows
