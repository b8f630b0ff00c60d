"""The JSB chorales of the literature, from the JSON files of the JSB-Chorales-dataset in the folder given.

`jsb` reads `Jsb16thSeparated.json`: four voices on a grid of sixteenths, 229 / 76 / 77 pieces in the splits "train",
"validation" and "test" of Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), here in windows of whole bars, one
from each step that is a multiple of 16. The files know neither bar lines (pieces begin with their upbeat, so windows
may start on any beat) nor repeated notes (equal pitches in a row are one note). `chorales` has both.

`quarter_rolls` gives the pieces of `jsb-chorales-quarter.json`, on which likelihoods are published.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from genjax_art.data.contract import DataError, Source
from genjax_art.data.folders import existing_folder, fingerprint
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.rolls import VOICES, check_bars, roll_example, roll_features, some, variant_of
from genjax_art.music.notes import STEPS_PER_BAR, Notes

SIXTEENTHS = "Jsb16thSeparated.json"
QUARTERS = "jsb-chorales-quarter.json"
SPLITS = {"train": "train", "validation": "valid", "test": "test"}  # ours: theirs
LOWEST_KEY, KEYS = 21, 88  # the piano of the benchmark


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    bars: int = 2,
) -> Source:
    """The JSB chorales of the literature, of the JSON files of the JSB-Chorales-dataset: rolls of some bars.

    Args:
      split: which of the published splits: train, validation, test; or all, or a slice such as train[:10%].
      folder: the one with Jsb16thSeparated.json; needed.
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      bars: length of an example in bars of 4/4, at least 1.

    Raises:
      DataError: no folder, the file is missing or not as published, no piece is so long, or no such split.
      UsageError: less than one bar.
    """
    pieces = Jsb(existing_folder(folder, Jsb.name), check_bars(bars))
    return open_prepared(pieces, split=split, data_dir=data_dir)


@dataclass(frozen=True)
class Jsb(Recipe):
    """The JSB chorales in windows of so many bars."""

    folder: Path
    bars: int

    name = "jsb"
    notes = "The published split."
    homepage = "https://github.com/czhuang/JSB-Chorales-dataset"
    kind = "roll"

    @cached_property
    def variant(self) -> str:
        return variant_of(self.bars, fingerprint(self.folder, [_existing(self.folder, SIXTEENTHS)]))

    def features(self) -> dict[str, Any]:
        return roll_features(self.bars)

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        pieces = _read_json(self.folder, SIXTEENTHS)
        return {ours: some(self._examples(pieces[theirs]), self.bars) for ours, theirs in SPLITS.items()}

    def _examples(self, pieces: Sequence[Any]) -> Examples:
        for i, piece in enumerate(pieces):
            pitches = np.asarray(piece)
            if pitches.ndim != 2 or pitches.shape[1] != VOICES:
                raise DataError(f"piece {i} of {SIXTEENTHS} has no four pitches a step: use the original file")
            notes = notes_from_pitches(pitches)
            for bar in range(len(piece) // STEPS_PER_BAR - self.bars + 1):
                yield f"{i} {bar}", roll_example(notes, bar * STEPS_PER_BAR, self.bars, i, bar)


def notes_from_pitches(pitches: Int[np.ndarray, "steps voices"]) -> Notes:
    """The notes of a MIDI pitch per step and voice, -1 where it is silent; equal pitches in a row are one note."""
    before = np.concatenate([np.full_like(pitches[:1], -1), pitches[:-1]])
    after = np.concatenate([pitches[1:], np.full_like(pitches[:1], -1)])
    voice, start = np.nonzero(((pitches >= 0) & (pitches != before)).T)
    _, last = np.nonzero(((pitches >= 0) & (pitches != after)).T)
    return Notes(start, last - start + 1, pitches[start, voice].astype(np.int64), voice)


def quarter_rolls(folder: Path) -> dict[str, list[Bool[np.ndarray, "steps 88"]]]:
    """The benchmark of Boulanger-Lewandowski et al. 2012: per split, for each piece the keys that sound at each
    quarter note, from MIDI pitch 21 to 108.

    Likelihoods are published per step: summed over the 88 keys, averaged over the steps of all pieces of "test".

    Raises:
      DataError: the file is missing or not as published.
    """
    pieces = _read_json(folder, QUARTERS)
    return {ours: [_keys(piece) for piece in pieces[theirs]] for ours, theirs in SPLITS.items()}


def _keys(piece: Sequence[Sequence[int]]) -> Bool[np.ndarray, "steps 88"]:
    roll = np.zeros((len(piece), KEYS), bool)
    for step, pitches in enumerate(piece):
        roll[step, np.asarray(pitches, np.int64) - LOWEST_KEY] = True
    return roll


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"folder {folder} holds no {name}: pass the folder of the JSB-Chorales-dataset's JSON files")
    return path


def _read_json(folder: Path, name: str) -> dict[str, list[Any]]:
    path = _existing(folder, name)
    try:
        pieces = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(pieces, dict) or not set(SPLITS.values()) <= pieces.keys():
        raise DataError(f"{path} has not the splits {', '.join(SPLITS.values())}: use the original file")
    return pieces
