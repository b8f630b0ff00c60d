"""The user's own pictures: `folder/<label>/*.png`, or a flat folder of pictures without labels.

PNG, JPEG, WebP, BMP and GIF (its first frame), of any size and mode: greyscale, RGB, RGBA, palette, 16 bit,
CMYK, turned by EXIF. Each is scaled and cropped around its centre to the asked size (64x64 if none is asked)
and channels (3); see `pictures.fit_picture`. Labels are the names of the folders, sorted. Hidden files and
files with other endings are passed over; pictures beside this layout are left out with a warning.

Where the folder consists of `train` and any of `test`, `validation` and `val`, these are the splits, each
laid out as above. Else all pictures are in the split "train".

The prepared set is kept under the folder's content (names, sizes, times) and the asked size: unchanged
pictures are not read again. A picture that cannot be read is named and skipped; more than 1 % stop it.
"""

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from genjax_art.data.contract import DataError, Source
from genjax_art.data.folders import existing_folder, fingerprint, visible_files
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe, png
from genjax_art.pictures import fit_picture

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SPLITS = ("train", "test", "validation", "val")
DEFAULT_SIZE = (64, 64)
NAMED = 20  # how many unreadable pictures an error lists


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """Your own pictures: `folder/<label>/*.png` (jpg, webp, bmp, gif), or a flat folder without labels.

    Args:
      split: which pictures: train, the others that the folder has (test, validation, val), all, or a slice such as
        train[:10%].
      folder: the one with your pictures; needed.
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: 64 64).
      channels: 1 grey, 3 RGB, 4 RGBA (default: 3).

    Raises:
      DataError: no folder, one without a layout, one with too many unreadable pictures, or no such split.
    """
    pictures = ImageFolder(existing_folder(folder, ImageFolder.name), size or DEFAULT_SIZE, channels or 3)
    return open_prepared(pictures, split=split, data_dir=data_dir, size=size, channels=channels)


@dataclass(frozen=True)
class Layout:
    """Pictures and their labels for each split; `strays` are the pictures that have no place in it."""

    splits: dict[str, list[tuple[Path, str | None]]]
    classes: tuple[str, ...]
    strays: list[Path]


def read_layout(folder: Path) -> Layout:
    """How the pictures in `folder` are laid out (see above). Raises DataError where there are none."""
    pictures = [path for path in visible_files(folder) if path.suffix.lower() in ENDINGS]
    if not pictures:
        raise DataError(f"folder {folder} holds no pictures ({', '.join(e[1:] for e in ENDINGS)})")
    tops = {path.relative_to(folder).parts[0] for path in pictures}
    split = "train" in tops and tops <= set(SPLITS)
    bases = {name: folder / name for name in SPLITS if name in tops} if split else {"train": folder}
    splits, strays = {}, []
    for name, base in bases.items():
        inside = [path for path in pictures if path.is_relative_to(base)]
        labelled = [path for path in inside if path.parent.parent == base]
        direct = [path for path in inside if path.parent == base]
        if labelled and len(direct) > len(labelled):
            raise DataError(
                f"folder {base} holds {len(direct)} pictures itself and {len(labelled)} in folders below: "
                "move them all into folders named by label, or all into one"
            )
        placed = labelled or direct
        strays += sorted(set(inside) - set(placed))
        splits[name] = [(path, path.parent.name if labelled else None) for path in placed]
        if not placed:
            raise DataError(
                f"folder {base} holds no pictures, nor do folders in it, but deeper ones do: move them up "
                f"(folders of splits are named {', '.join(SPLITS)})"
            )
    if 2 * len(strays) > len(pictures):  # then the layout is not what was meant
        raise DataError(
            f"folder {folder} has places for {len(pictures) - len(strays)} of {len(pictures)} pictures only: move all "
            f"into folders named by label, or into {', '.join(SPLITS)} with nothing beside; left out were "
            f"{_named(folder, strays)}"
        )
    return Layout(splits, _classes(folder, {label for rows in splits.values() for _, label in rows}), strays)


def _classes(folder: Path, labels: set[str | None]) -> tuple[str, ...]:
    named = sorted(label for label in labels if label is not None)
    if None in labels and named:
        raise DataError(f"folder {folder} has labels in some of its splits only: give all of them folders by label")
    for label in named:  # TFDS keeps them as the stripped lines of a file in UTF-8
        if label.splitlines() != [label.strip()] or label.encode(errors="replace").decode() != label:
            raise DataError(
                f"rename the folder {label!r} in {folder}: a label has one line, no blanks at its ends, and is UTF-8"
            )
    return tuple(named)


def read_picture(path: Path, size: tuple[int, int], channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """One file as an array. Raises whatever Pillow does on a broken one."""
    # that a picture is large, or has odd metadata, is no news to its owner
    with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
        # JPEG only, some 4x faster: decodes at a half, quarter or eighth if that is twice what is needed
        picture.draft(None, (2 * max(size), 2 * max(size)))
        return fit_picture(ImageOps.exif_transpose(picture), size, channels)


@dataclass(frozen=True)
class ImageFolder(Recipe):
    """The user's own pictures, of the (height, width) and channels that they become."""

    folder: Path
    size: tuple[int, int]
    channels: int

    name = "image_folder"
    notes = "Scaled and cropped to one size."

    @cached_property
    def variant(self) -> str:
        content = fingerprint(self.folder, visible_files(self.folder))
        return f"{self.size[0]}x{self.size[1]}x{self.channels}-{content}"

    @cached_property
    def layout(self) -> Layout:
        return read_layout(self.folder)

    def features(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        image = tfds.features.Image(shape=(*self.size, self.channels))
        classes = list(self.layout.classes)
        return {"image": image} | ({"label": tfds.features.ClassLabel(names=classes)} if classes else {})

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        if self.layout.strays:
            _warn_strays(self.folder, self.layout.strays)
        broken: list[Path] = []
        last = list(self.layout.splits)[-1]
        return {name: self._examples(rows, broken, name == last) for name, rows in self.layout.splits.items()}

    def _examples(self, rows: list[tuple[Path, str | None]], broken: list[Path], last: bool) -> Examples:
        """Of one split; `broken` gathers, over all splits, what cannot be read."""
        read = 0
        for key, (path, label) in enumerate(rows):
            try:
                image = read_picture(path, self.size, self.channels)
            except Exception as error:  # Pillow raises a dozen kinds, by format
                logging.getLogger(__name__).warning("skipped %s: %s", path, " ".join(str(error).split()))
                broken.append(path)
                continue
            read += 1
            yield key, {"image": png(image)} | ({} if label is None else {"label": label})
        total = sum(len(rows) for rows in self.layout.splits.values())
        if (last or not read) and (100 * len(broken) > total or not read):
            raise _too_many_broken(self.folder, broken, total)


def _warn_strays(folder: Path, strays: list[Path]) -> None:
    left_out = _named(folder, strays)
    logging.getLogger(__name__).warning("left out %d pictures beside the layout: %s", len(strays), left_out)


def _too_many_broken(folder: Path, broken: list[Path], total: int) -> DataError:
    return DataError(
        f"{len(broken)} of {total} pictures in {folder} cannot be read, more than 1 %: "
        f"mend or remove {_named(folder, broken)}"
    )


def _named(folder: Path, paths: Iterable[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in paths]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
