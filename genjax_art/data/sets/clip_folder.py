"""The user's own clips: `folder/<label>/<clip>`, or a flat folder of clips without labels.

A clip is a film (GIF, WebP, APNG, or by PyAV MP4, MOV, MKV, WebM, AVI, ...), a sprite strip, or a folder of frames:

* A **strip** is a still picture of which the long side is a whole number, 2 or more, of its short side: its frames are
  the squares side by side (or one below another). `strip` says how many frames there are where they are no squares.
* A **folder of frames** holds two still pictures or more, and nothing else, of which the first is no strip; they are
  read in the order of the numbers in their names. Frames that are twice as wide as high look like strips: `strip` 1
  says that pictures are frames.

Films are sampled at `rate` frames per second by their own times, of varying rates, too (see `films.py`); strips and
folders have no times and are taken as they are. Of these frames every `stride`-th counts. A film longer than `frames`
of them is cut into clips one after another (at most `clips` of a film), a shorter one is named and skipped, as are
still pictures and frames of over 17 million pixels; where all are, that is an error. So is more than 1 % of broken
files; fewer are named and skipped, too. Of a film that breaks off the clips before that are used.

Splits, labels, sizes and what is kept on disk are as in `image_folder`: clips are decoded once, on all cores, to a
memory-mapped file that may be larger than memory, and preparing goes on where it was interrupted.
"""

import math
from pathlib import Path
from typing import Literal

from genjax_art import films
from genjax_art.data.contract import DataError, Source
from genjax_art.data.decoders import Clips
from genjax_art.data.folders import existing_folder, left_out, visible_files
from genjax_art.data.layout import Layout, layout_of
from genjax_art.data.own_folder import OwnFolder
from genjax_art.data.preparing import open_or_prepare
from genjax_art.data.request import make_request
from genjax_art.errors import UsageError
from genjax_art.pictures import endings
from genjax_art.spec import ArraySpec

NAME = "clip_folder"
DEFAULT_SIZE = (64, 64)


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
    frames: int = 16,
    rate: float = 8.0,
    stride: int = 1,
    strip: int | None = None,
    clips: int | None = None,
) -> Source:
    """Your own clips: `folder/<label>/<clip>`, each a GIF, MP4, ..., a sprite strip, or a folder of frames.

    Args:
      split: which clips: train, the others that the folder has (test, validation, val), all, or a slice such as
        train[:10%].
      folder: the one with your clips; needed.
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the frames to (default: 64 64).
      channels: 1 grey, 3 RGB, 4 RGBA (default: 3).
      frames: frames of a clip.
      rate: frames per second that films are sampled at; strips and folders of frames are taken to have that rate.
      stride: which of these frames: each, every second, ...
      strip: how many frames a strip has (default: as many as it has squares); 1: pictures are frames, not strips.
      clips: at most so many of each film (default: all).

    Raises:
      DataError: no folder, one without a layout, one with too many unreadable clips, or no such split.
      UsageError: a number that makes no clip.
    """
    if min(frames, stride, strip or 1, clips or 1) < 1 or not 0 < rate < math.inf:
        raise UsageError(f"{NAME}: frames, stride, strip and clips must be at least 1, and rate over 0")
    request = make_request(NAME, split, data_dir, size or DEFAULT_SIZE, channels or 3)
    reader = Clips(frames, request.size or DEFAULT_SIZE, channels or 3, rate, stride, strip, clips)
    found = existing_folder(folder, NAME)
    spec = ArraySpec(reader.shape, kind="clip", rate=rate / stride)
    own = OwnFolder(NAME, found, reader, spec, lambda: read_layout(found, strip))
    return open_or_prepare(request.data_dir / NAME / own.variant, split, NAME, own.prepare)


def read_layout(folder: Path, strip: int | None = None) -> Layout:
    """How the clips in `folder` are laid out (see above). Raises DataError where there are none, or PyAV is missing."""
    files = visible_files(folder)
    readable = set(films.film_endings())
    films_of: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in readable:
            films_of.setdefault(path.parent, []).append(path)
    others = [path for path in files if path.suffix.lower() not in readable]
    if not films_of:
        beside = f"; it holds {left_out(others)}" if others else ""
        raise DataError(f"folder {folder} holds no clips (gif, mp4, strips as png, folders of frames, ...){beside}")
    clips = []
    for place, inside in films_of.items():
        if place != folder and _are_frames(stills := films.stills(inside), strip):
            clips.append(place)
            others += sorted(set(inside) - set(stills))
        else:
            clips += inside
    if missing := [path for path in clips if films.lacking(path)]:
        raise DataError(f"{len(missing)} clips in {folder}, {missing[0].name} first, need {films.lacking(missing[0])}")
    return layout_of(folder, sorted(clips), others, "clips")


def _are_frames(files: list[Path], strip: int | None) -> bool:
    """Whether the films and pictures of one folder are one clip: still pictures, the first of which is no strip."""
    if len(files) < 2 or strip not in (None, 1) or any(path.suffix.lower() not in endings() for path in files):
        return False
    for path in sorted(files, key=films.in_order):
        try:
            return films.is_frame(path, strip)
        except Exception:  # broken: the next one tells
            continue
    return False
