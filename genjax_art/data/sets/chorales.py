"""Bach's four-part chorales in 4/4, in windows of whole bars: about 320 pieces from the package music21.

They are read from the corpus of the installed package (which has its own licence notes; nothing is copied here)
and parsed once. Each window starts at a bar line, and there is one from every bar; incomplete bars (upbeats, ends
of repeats) are in none. Pieces equal but for the key are taken once. Settings of the same tune (the soprano's
first eight quarter notes, in any key) are on the same side of the split: "test" has every fifth tune, "train" the
others, there in the twelve transpositions -5 to +6. `piece` numbers the chorales in the order of their names.
"""

import importlib.util
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.data.contract import DataError, Source
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.rolls import VOICES, check_bars, roll_example, roll_features, some, variant_of, whole_windows
from genjax_art.music.notes import STEPS_PER_BAR, STEPS_PER_BEAT, Notes, notes_from_rows

TRANSPOSITIONS = range(-5, 7)
HELD_OUT = 5  # one in so many tunes
TUNE_BEATS = 8


def build(
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    bars: int = 2,
) -> Source:
    """Bach's four-part chorales in 4/4, of the package music21: rolls of some bars and four voices.

    Args:
      split: which examples: train (four fifths of the tunes, in twelve keys), test (the other tunes), all, or a slice
        such as train[:10%].
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      bars: length of an example in bars of 4/4, at least 1.

    Raises:
      DataError: no such split, music21 is not installed, or no chorale is so long.
      UsageError: less than one bar.
    """
    return open_prepared(Chorales(check_bars(bars)), split=split, data_dir=data_dir)


@dataclass(frozen=True, eq=False)
class Chorale:
    """One piece; `downbeats` are the steps at which full bars start, `off_grid` counts notes that were moved."""

    name: str
    notes: Notes
    downbeats: tuple[int, ...]
    end: int
    off_grid: int


@dataclass(frozen=True)
class Chorales(Recipe):
    """Bach's four-part chorales in windows of so many bars."""

    bars: int

    name = "chorales"
    notes = "Split by tune; train in twelve transpositions."
    homepage = "https://www.music21.org"
    kind = "roll"
    seconds = 60

    @property
    def variant(self) -> str:
        return variant_of(self.bars)

    def features(self) -> dict[str, Any]:
        return roll_features(self.bars)

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        pieces = distinct(filter(None, map(read_chorale, chorale_paths())))
        if not pieces:
            raise DataError("the installed music21 carries no Bach chorales: install it whole, with its corpus")
        held_out = held_out_pieces(pieces)
        counts = {"off_grid_notes": sum(p.off_grid for p in pieces), "notes": sum(len(p.notes) for p in pieces)}
        metadata.update({"pieces": [piece.name for piece in pieces], **counts})
        logging.getLogger(__name__).warning(
            "read %d chorales: %d notes, %d of them moved to the grid of sixteenths",
            *(len(pieces), counts["notes"], counts["off_grid_notes"]),
        )
        train = [i for i in range(len(pieces)) if i not in held_out]
        return {
            "train": some(self._examples(pieces, train, TRANSPOSITIONS), self.bars),
            "test": some(self._examples(pieces, sorted(held_out), range(1)), self.bars),
        }

    def _examples(self, pieces: Sequence[Chorale], chosen: Sequence[int], transpositions: range) -> Examples:
        for i in chosen:
            piece = pieces[i]
            for bar, start in whole_windows(piece.downbeats, piece.end, self.bars):
                for semitones in transpositions:
                    example = roll_example(piece.notes, start, self.bars, i, bar, semitones)
                    yield f"{piece.name} {bar} {semitones}", example


def chorale_paths() -> list[Path]:
    """The scores of Bach's works that music21 carries. Raises DataError where the package is missing."""
    package = importlib.util.find_spec("music21")
    if package is None or package.origin is None:
        raise DataError('chorales are read from the package music21: install it with pip install -e ".[music]"')
    return sorted((Path(package.origin).parent / "corpus" / "bach").glob("*.mxl"))


def read_chorale(path: Path) -> Chorale | None:
    """The chorale in `path`; None if it is not in four parts and in 4/4 throughout."""
    import music21

    score: Any = music21.converter.parse(path, forceSource=True, storePickle=False)
    parts = list(score.parts)
    meters = {meter.ratioString for meter in score.recurse().getElementsByClass(music21.meter.TimeSignature)}
    if len(parts) != VOICES or meters != {"4/4"}:
        return None
    rows = [row for voice, part in enumerate(parts) for row in _note_rows(part, voice)]
    exact = np.asarray([row[:2] for row in rows]) * STEPS_PER_BEAT  # start and end
    grid = np.floor(exact + 0.5).astype(np.int64)
    length = np.maximum(grid[:, 1] - grid[:, 0], 1)
    pitch_voice = np.asarray([row[2:] for row in rows], np.int64)
    notes = notes_from_rows(np.column_stack([grid[:, 0], length, pitch_voice]))
    measures = [
        (float(measure.offset), float(measure.duration.quarterLength))
        for measure in parts[0].getElementsByClass(music21.stream.Measure)
    ]
    end = round(sum(measures[-1]) * STEPS_PER_BEAT) if measures else 0
    moved = int(np.count_nonzero((exact != grid).any(1)))
    return Chorale(path.stem, notes, downbeats_of(measures), end, moved)


def _note_rows(part: Any, voice: int) -> list[tuple[float, float, int, int]]:
    """(start, end, pitch, voice) of a part in quarter notes; tied notes are one, grace notes are left out."""
    rows: list[tuple[float, float, int, int]] = []
    for note in part.flatten().notes:
        start, length, pitch = float(note.offset), float(note.duration.quarterLength), note.pitches[-1].midi
        tied = note.tie is not None and note.tie.type in ("stop", "continue")
        if length == 0:
            continue
        if tied and rows and rows[-1][1:3] == (start, pitch):
            rows[-1] = (rows[-1][0], start + length, pitch, voice)
        else:
            rows.append((start, start + length, pitch, voice))
    return rows


def downbeats_of(measures: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The steps at which bars start, from (offset, length) of the printed measures in quarter notes.

    A first measure that is short is an upbeat. Repeats cut bars into several printed measures, which are put
    together; where they do not add up to a bar, the next measure starts one anew.
    """
    bar = STEPS_PER_BAR / STEPS_PER_BEAT
    starts: list[float] = []
    filled = 0.0
    for i, (offset, length) in enumerate(measures):
        if i == 0 and length < bar:
            continue
        if filled == 0 or filled + length > bar:
            starts.append(offset)
            filled = 0.0
        filled = (filled + length) % bar
    return tuple(round(start * STEPS_PER_BEAT) for start in starts)


def distinct(pieces: Any) -> list[Chorale]:
    """The pieces without those whose notes are, up to transposition, those of an earlier one."""
    first: dict[bytes, Chorale] = {}
    for piece in pieces:
        rows = piece.notes.rows
        first.setdefault((rows - np.asarray([0, 0, rows[0, 2], 0])).tobytes(), piece)
    return list(first.values())


def held_out_pieces(pieces: Sequence[Chorale]) -> set[int]:
    """The numbers of the pieces for the test: those of every fifth tune, in the order of the pieces."""
    tunes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, piece in enumerate(pieces):
        tunes[tune(piece)].append(i)
    return {i for members in list(tunes.values())[HELD_OUT - 1 :: HELD_OUT] for i in members}


def tune(piece: Chorale) -> tuple[int, ...]:
    """The soprano's pitch on the first eight quarter notes from the first downbeat on, relative to the first one."""
    soprano = piece.notes.where(piece.notes.voice == 0)
    beats = piece.downbeats[0] + STEPS_PER_BEAT * np.arange(TUNE_BEATS)
    sounds = (soprano.start <= beats[:, None]) & (beats[:, None] < soprano.end)
    pitch = np.where(sounds.any(1), soprano.pitch[np.argmax(sounds, 1)], 0)
    return tuple(int(p - pitch[0]) for p in pitch)
