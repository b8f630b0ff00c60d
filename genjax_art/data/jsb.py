"""The JSB chorales of the literature, from the JSON files of the JSB-Chorales-dataset in the folder given.

`jsb` reads `Jsb16thSeparated.json`: four voices on a grid of sixteenths, 229 / 76 / 77 pieces in the splits "train",
"validation" and "test" of Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), here in windows of two bars, one from
every sixteenth step of 16. The files know neither bar lines (pieces begin with their upbeat, so windows may start
on any beat) nor repeated notes (equal pitches in a row are one note). `chorales` has both.

`quarter_rolls` gives the pieces of `jsb-chorales-quarter.json`, on which likelihoods are published.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Int

from genjax_art.data.arrays import DataError
from genjax_art.data.builder import FolderConfig, ShippedBuilder
from genjax_art.data.folders import fingerprint
from genjax_art.data.request import Request
from genjax_art.data.rolls import VOICES, roll_example, roll_features
from genjax_art.notes import STEPS_PER_BAR, Notes

SIXTEENTHS = "Jsb16thSeparated.json"
QUARTERS = "jsb-chorales-quarter.json"
SPLITS = {"train": "train", "validation": "valid", "test": "test"}  # ours: theirs
LOWEST_KEY, KEYS = 21, 88  # the piano of the benchmark


class Jsb(ShippedBuilder):
    """The JSB chorales in windows of two bars."""

    name = "jsb"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "The published split."}
    kind: ClassVar[str] = "roll"
    needs_folder = True
    bars: ClassVar[int] = 2

    @classmethod
    def configure(cls, request: Request) -> FolderConfig:
        assert request.folder is not None  # needs_folder
        path = _existing(request.folder, SIXTEENTHS)
        return FolderConfig(name=fingerprint(request.folder, [path]), folder=request.folder)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=roll_features(self.bars),
            homepage="https://github.com/czhuang/JSB-Chorales-dataset",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        pieces = _read_json(self.builder_config.folder, SIXTEENTHS)
        return {ours: self._generate_examples(pieces[theirs]) for ours, theirs in SPLITS.items()}

    def _generate_examples(self, pieces: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
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
