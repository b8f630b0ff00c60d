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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from PIL import Image, ImageOps

from genjax_art.data.arrays import DataError
from genjax_art.data.builder import FolderConfig, ShippedBuilder, png
from genjax_art.data.folders import fingerprint, visible_files
from genjax_art.data.request import Request
from genjax_art.pictures import fit_picture

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SPLITS = ("train", "test", "validation", "val")
DEFAULT_SIZE = (64, 64)
NAMED = 20  # how many unreadable pictures an error lists


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


@dataclass(eq=False)
class PictureConfig(FolderConfig):
    """The (height, width) and channels that pictures become."""

    size: tuple[int, int] = DEFAULT_SIZE
    channels: int = 3


# TFDS has an image_folder of its own, hence no registration
class ImageFolder(ShippedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The user's own pictures."""

    name = "image_folder"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Scaled and cropped to one size."}
    needs_folder = True

    @classmethod
    def configure(cls, request: Request) -> PictureConfig:
        assert request.folder is not None  # needs_folder
        size, channels = request.size or DEFAULT_SIZE, request.channels or 3
        content = fingerprint(request.folder, visible_files(request.folder))
        name = f"{size[0]}x{size[1]}x{channels}-{content}"
        return PictureConfig(name=name, folder=request.folder, size=size, channels=channels)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        self.layout = read_layout(config.folder)
        features: dict[str, Any] = {"image": tfds.features.Image(shape=(*config.size, config.channels))}
        if self.layout.classes:
            features["label"] = tfds.features.ClassLabel(names=list(self.layout.classes))
        return tfds.core.DatasetInfo(builder=self, description=__doc__, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        if self.layout.strays:
            _warn_strays(self.builder_config.folder, self.layout.strays)
        self.broken: list[Path] = []
        last = list(self.layout.splits)[-1]
        return {name: self._generate_examples(rows, name == last) for name, rows in self.layout.splits.items()}

    def _generate_examples(
        self, rows: list[tuple[Path, str | None]], last: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        read = 0
        for key, (path, label) in enumerate(rows):
            try:
                image = read_picture(path, config.size, config.channels)
            except Exception as error:  # Pillow raises a dozen kinds, by format
                logging.getLogger(__name__).warning("skipped %s: %s", path, " ".join(str(error).split()))
                self.broken.append(path)
                continue
            read += 1
            yield key, {"image": png(image)} | ({} if label is None else {"label": label})
        total = sum(len(rows) for rows in self.layout.splits.values())
        if (last or not read) and (100 * len(self.broken) > total or not read):
            raise _too_many_broken(config.folder, self.broken, total)


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
