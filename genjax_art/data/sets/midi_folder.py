"""The user's own MIDI files (.mid, .midi, .kar, .rmi, .smf) in a folder, in 4/4, as windows of whole bars.

Times are rounded to sixteenths; drums and passages in other meters are left out (2/2 and 8/8 are as long as 4/4);
tracks become four voices as `voices.assign_voices` says. There is a window from every bar, silent ones left out; the
last bar is filled up with silence. A file that cannot be used is named and skipped, and what was moved or left out of
the others is counted, as are files of other endings; no file that can be used is an error. `piece` numbers the files
by name.

About every tenth piece is in the split "test", the others in "train". Its notes decide, not its name or place: a piece
stays where it is when files are added or renamed, and copies of it are in the same split. Of ten pieces or more at
least one is held out; where all would be, none is.

The prepared set is kept under the folder's content (names, sizes, times).
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.data.contract import DataError, Source
from genjax_art.data.folders import existing_folder, fingerprint, left_out, visible_files
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.rolls import VOICES, check_bars, roll_example, roll_features, variant_of, whole_windows
from genjax_art.files import printable, some_names
from genjax_art.music.midi import read_midi
from genjax_art.music.notes import STEPS_PER_BAR, MusicError, Notes, window
from genjax_art.music.voices import assign_voices

ENDINGS = (".mid", ".midi", ".kar", ".rmi", ".smf")
HELD_OUT = 10  # one in so many files


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    bars: int = 2,
) -> Source:
    """Your own MIDI files in 4/4: rolls of some bars and four voices.

    Args:
      split: which examples: train, test (about every tenth piece), all, or a slice such as train[:10%].
      folder: the one with your MIDI files; needed.
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      bars: length of an example in bars of 4/4, at least 1.

    Raises:
      DataError: no folder, none of its files can be used, or no such split.
      UsageError: less than one bar.
    """
    files = MidiFolder(existing_folder(folder, MidiFolder.name), check_bars(bars))
    return open_prepared(files, split=split, data_dir=data_dir)


@dataclass(frozen=True, eq=False)
class Piece:
    """One file's notes in four voices, its sections [start, end) of 4/4, and what reading it cost."""

    path: Path
    notes: Notes
    sections: tuple[tuple[int, int], ...]
    moved: int
    unended: int
    drums: int
    left_out: int

    @cached_property
    def digest(self) -> int:
        """A hash of the notes, evenly spread over 64 bits."""
        return int.from_bytes(hashlib.sha256(self.notes.rows.astype("<i8").tobytes()).digest()[:8], "big")

    @property
    def outside(self) -> int:
        """How many notes begin in no section: in other meters, or in a pickup."""
        start = self.notes.start
        return int(sum(~np.any([(a <= start) & (start < b) for a, b in self.sections], 0)))

    def windows(self, bars: int) -> list[tuple[int, int]]:
        """(bar, step) of each window of `bars` bars in which something sounds."""
        downbeats = [s for start, end in self.sections for s in range(start, end - STEPS_PER_BAR + 1, STEPS_PER_BAR)]
        last = max((end for _, end in self.sections), default=0)
        found = whole_windows(downbeats, last, bars)
        return [(i, step) for i, step in found if len(window(self.notes, step, bars * STEPS_PER_BAR))]


@dataclass(frozen=True)
class MidiFolder(Recipe):
    """The user's own MIDI files in windows of so many bars."""

    folder: Path
    bars: int

    name = "midi_folder"
    version = "2.0.0"
    notes = "Four voices; about every tenth piece held out, by its notes; the last bar is filled up."
    kind = "roll"

    @cached_property
    def variant(self) -> str:
        return variant_of(self.bars, fingerprint(self.folder, visible_files(self.folder)))

    def features(self) -> dict[str, Any]:
        return roll_features(self.bars)

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        pieces = read_folder(self.folder, self.bars)
        metadata["pieces"] = [printable(piece.path.name) for piece in pieces]
        numbers = range(len(pieces))
        test = held_out([piece.digest for piece in pieces])
        splits = {"train": self._examples(pieces, [i for i in numbers if i not in test])}
        return splits | ({"test": self._examples(pieces, test)} if test else {})

    def _examples(self, pieces: Sequence[Piece], chosen: Sequence[int]) -> Examples:
        for i in chosen:
            for bar, start in pieces[i].windows(self.bars):
                yield f"{i} {bar}", roll_example(pieces[i].notes, start, self.bars, i, bar)


def held_out(digests: Sequence[int]) -> list[int]:
    """Which pieces are held out, about one in `HELD_OUT`: never one that was not before others were added."""
    test = [i for i, digest in enumerate(digests) if digest < 2**64 // HELD_OUT]
    if not test and len(digests) >= HELD_OUT:
        test = [i for i, digest in enumerate(digests) if digest == min(digests)]
    return test if len(test) < len(digests) else []


def read_folder(folder: Path, bars: int) -> list[Piece]:
    """The usable files of `folder` and the folders in it; says what was skipped, moved and left out.

    Raises:
      DataError: no MIDI files, none that can be used, or the MIDI library missing.
    """
    files = visible_files(folder)
    paths = [path for path in files if path.suffix.lower() in ENDINGS]
    others = left_out(path for path in files if path.suffix.lower() not in ENDINGS)
    if not paths:
        beside = f"; it holds {others}" if others else ""
        raise DataError(f"folder {folder} holds no MIDI files ({', '.join(ENDINGS)}){beside}")
    log = logging.getLogger(__name__)
    reasons: list[str] = []
    pieces = [piece for path in paths if (piece := _read(path, bars, reasons))]
    if not pieces:
        raise DataError(f"none of the {len(paths)} MIDI files in {folder} can be used: {some_names(sorted(reasons))}")
    if others:
        log.warning("left out of %s, which are no MIDI files by their endings: %s", folder, others)
    for reason in reasons:
        log.warning("skipped: %s", reason)
    log.warning(
        "read %d of %d MIDI files: %d notes; %d moved to the grid of sixteenths, %d without an end, "
        "%d drum notes, %d notes beyond four voices or the range of pitches and %d outside 4/4 left out",
        len(pieces),
        len(paths),
        *(sum(values) for values in zip(*map(_counts, pieces), strict=True)),
    )
    return pieces


def _counts(piece: Piece) -> tuple[int, ...]:
    return len(piece.notes), piece.moved, piece.unended, piece.drums, piece.left_out, piece.outside


def _read(path: Path, bars: int, reasons: list[str]) -> Piece | None:
    """The piece in `path`, or None and one more reason."""
    try:
        song = read_midi(path)
    except MusicError as error:
        reasons.append(str(error))
        return None
    notes, left_out = assign_voices(song.notes, VOICES)
    piece = Piece(path, notes, song.sections, song.moved, song.unended, song.drums, left_out)
    if not piece.windows(bars):
        reasons.append(f"{printable(path)} has no {bars} bars of 4/4 in a row with notes from MIDI pitch 30 to 89")
        return None
    return piece
