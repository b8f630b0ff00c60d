"""The user's own pictures: `folder/<label>/*.png`, or a flat folder of pictures without labels.

Every format that Pillow decodes (PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF, PPM, TGA, ...; of films the first frame), of
any size and mode: greyscale, RGB, RGBA, palette, 16 bit, CMYK, turned by EXIF, of other colour profiles than sRGB.
Each is scaled and cropped around its centre to the asked size (64x64 if none is asked) and channels (3); see
`pictures.py`. Labels are the names of the folders, sorted. Hidden files are passed over; files of other endings are
counted, pictures beside this layout named, in a warning.

Where the folder consists of `train` and any of `test`, `validation` and `val`, these are the splits, each laid out as
above; pictures of "train" that are, byte by byte, in another split too are left out. Else all pictures are in the split
"train": nothing is held out that the user did not hold out.

The pictures are decoded once, on all cores, to a file in `data_dir` that is memory-mapped when opened and may be larger
than memory. It is kept under the folder's content (names, sizes, times) and the asked size: unchanged pictures are not
read again, and where it was interrupted, preparing goes on. A picture that cannot be read is named and skipped; more
than 1 % stop it. One of more than 67 million pixels (a JPEG that may be decoded smaller: 134 million) is named and
skipped, too, and does not count among those.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from genjax_art.data.contract import DataError, Source
from genjax_art.data.decoders import Unread
from genjax_art.data.folders import existing_folder, fingerprint, left_out, visible_files, visible_names
from genjax_art.data.pictures_on_disk import write_meta
from genjax_art.data.preparing import open_or_prepare, write_pictures
from genjax_art.data.request import make_request
from genjax_art.files import printable
from genjax_art.pictures import endings
from genjax_art.spec import ArraySpec

SPLITS = ("train", "test", "validation", "val")
DEFAULT_SIZE = (64, 64)
NAMED = 20  # how many unreadable pictures an error lists
ROOM = Path(__file__).parents[1]
CODE = ("folders", "growing", "pictures_on_disk", "../pictures")  # that make a prepared set what it is

Row = tuple[Path, str | None]  # a picture and its label


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """Your own pictures: `folder/<label>/*.png` (jpg, tif, webp, ...), or a flat folder without labels.

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
    request = make_request(ImageFolder.name, split, data_dir, size or DEFAULT_SIZE, channels or 3)
    pictures = ImageFolder(existing_folder(folder, ImageFolder.name), request.size or DEFAULT_SIZE, channels or 3)
    place = request.data_dir / pictures.name / pictures.variant
    return open_or_prepare(place, split, pictures.name, pictures.prepare)


@dataclass(frozen=True)
class Layout:
    """Pictures and their labels for each split; `strays` are the pictures that have no place in it.

    `others` are files of other endings, `empty` the names of folders in the place of labels that hold no picture.
    """

    splits: dict[str, list[Row]]
    classes: tuple[str, ...]
    strays: list[Path]
    others: list[Path] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def read_layout(folder: Path) -> Layout:
    """How the pictures in `folder` are laid out (see above). Raises DataError where there are none."""
    files = visible_files(folder)
    readable = set(endings())
    pictures = [path for path in files if path.suffix.lower() in readable]
    others = [path for path in files if path.suffix.lower() not in readable]
    if not pictures:
        beside = f"; it holds {left_out(others)}" if others else ""
        raise DataError(f"folder {folder} holds no pictures (png, jpg, tif, webp, ...){beside}")
    tops = {path.relative_to(folder).parts[0] for path in pictures}
    split = "train" in tops and tops <= set(SPLITS)
    bases = {name: folder / name for name in SPLITS if name in tops} if split else {"train": folder}
    splits, strays, empty = {}, [], []
    for name, base in bases.items():
        inside = pictures if base == folder else [path for path in pictures if path.is_relative_to(base)]
        labelled, direct = ([path for path in inside if len(path.parts) == len(base.parts) + depth] for depth in (2, 1))
        if labelled and len(direct) > len(labelled):
            raise DataError(
                f"folder {base} holds {len(direct)} pictures itself and {len(labelled)} in folders below: "
                "move them all into folders named by label, or all into one"
            )
        placed = labelled or direct
        strays += sorted(set(inside) - set(placed))
        if labelled:
            empty += sorted({other.parent.name for other in others if other.parent.parent == base} - _labels(labelled))
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
    classes = _classes(folder, {label for rows in splits.values() for _, label in rows})
    return Layout(splits, classes, strays, others, empty)


def _labels(paths: Iterable[Path]) -> set[str]:
    return {path.parent.name for path in paths}


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


@dataclass(frozen=True)
class ImageFolder:
    """The user's own pictures, of the (height, width) and channels that they become."""

    folder: Path
    size: tuple[int, int]
    channels: int

    name = "image_folder"

    @property
    def variant(self) -> str:
        """A name for these files, by their names, sizes and times, in this form, by the code that makes it."""
        code = hashlib.sha256(fingerprint(self.folder, visible_names(self.folder)).encode())
        for module in (Path(__file__), *(ROOM / f"{name}.py" for name in CODE)):
            code.update(module.read_bytes())
        return f"{self.size[0]}x{self.size[1]}x{self.channels}-{code.hexdigest()[:16]}"

    def prepare(self, place: Path) -> None:
        """Decodes all pictures into the folder `place`, from where it was interrupted.

        Raises:
          DataError: no layout, too many unreadable pictures, or no room.
        """
        layout = read_layout(self.folder)
        _warn_left_out(self.folder, layout)
        splits = {
            name: in_mixed_order(rows, name) for name, rows in _without_copies(self.folder, layout.splits).items()
        }
        skipped = Skipped(sum(map(len, splits.values())))
        labels: list[str | None] = []

        def check(split: str, unread: dict[Path, Unread]) -> None:
            read = [label for path, label in splits[split] if path not in unread]
            labels.extend(read)
            skipped.add(unread)
            skipped.check(self.folder, enough=bool(read), last=split == list(splits)[-1])
            if missing := sorted(set(layout.classes) - set(read)):
                word = ", ".join(missing)
                logging.getLogger(__name__).warning("no picture of the label %s in the split %s", word, split)

        spec = ArraySpec((*self.size, self.channels), classes=layout.classes)
        paths = {split: [path for path, _ in rows] for split, rows in splits.items()}
        parts = write_pictures(place, self.name, paths, spec, check)
        index: dict[str | None, int] = {label: i for i, label in enumerate(layout.classes)}
        found = np.array([index[label] for label in labels], np.int32) if layout.classes else None
        write_meta(place, parts, found, spec)


def in_mixed_order(rows: Sequence[Row], split: str) -> list[Row]:
    """An order in which a slice such as train[:10%] has something of everything, the one of TFDS (salted MD5)."""
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def place(i: int) -> bytes:
        digest = salted.copy()
        digest.update(str(i).encode())
        return digest.digest()

    return [rows[i] for i in sorted(range(len(rows)), key=place)]


@dataclass
class Skipped:
    """What could not be read of so many pictures."""

    total: int
    broken: list[Path] = field(default_factory=list)
    large: list[Path] = field(default_factory=list)

    def add(self, unread: Mapping[Path, Unread]) -> None:
        """Names what could not be read of a split."""
        log = logging.getLogger(__name__)
        for path, reason in sorted(unread.items()):
            (self.large if reason.large else self.broken).append(path)
            log.warning("skipped %s: %s", printable(path), reason.message)

    def check(self, folder: Path, *, enough: bool, last: bool) -> None:
        """After a split. Raises DataError where nothing of it could be read or, in the end, too much could not."""
        if not enough and self.large and not self.broken:
            raise DataError(f"all pictures are too large: make {_named(folder, self.large)} smaller")
        if (last or not enough) and (100 * len(self.broken) > self.total or not enough):
            raise _too_many_broken(folder, self.broken, self.total)
        if last and self.large:
            log = logging.getLogger(__name__)
            log.warning("skipped %d too large pictures: %s", len(self.large), _named(folder, self.large))


def _warn_left_out(folder: Path, layout: Layout) -> None:
    log = logging.getLogger(__name__)
    if layout.strays:
        log.warning("left out %d pictures beside the layout: %s", len(layout.strays), _named(folder, layout.strays))
    if layout.others:
        log.warning("left out of %s, which are no pictures by their endings: %s", folder, left_out(layout.others))
    if layout.empty:
        log.warning("left out labels without pictures: %s", ", ".join(map(printable, layout.empty)))


def _without_copies(folder: Path, splits: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The splits, what is held out not among what is trained on; files are read where their sizes are equal only."""
    held = [path for name, rows in splits.items() if name != "train" for path, _ in rows]
    by_size: dict[int, list[Path]] = {}
    for path in held:
        by_size.setdefault(_size(path), []).append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            try:
                digests[path] = hashlib.sha256(path.read_bytes()).digest()
            except OSError:  # a link to nowhere
                digests[path] = os.fsencode(path)
        return digests[path]

    copies = [
        path
        for path, _ in splits["train"]
        if any(digest(path) == digest(other) for other in by_size.get(_size(path), []))
    ]
    if not copies:
        return splits
    logging.getLogger(__name__).warning(
        "left out %d pictures to train on that are held out as well: %s", len(copies), _named(folder, copies)
    )
    if len(copies) == len(splits["train"]):
        raise DataError(f"all pictures in {folder / 'train'} are in another split as well: put different ones there")
    gone = set(copies)
    return {**splits, "train": [row for row in splits["train"] if row[0] not in gone]}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1  # a link to nowhere


def _too_many_broken(folder: Path, broken: list[Path], total: int) -> DataError:
    return DataError(
        f"{len(broken)} of {total} pictures in {folder} cannot be read, more than 1 %: "
        f"mend or remove {_named(folder, broken)}"
    )


def _named(folder: Path, paths: Iterable[Path]) -> str:
    names = [printable(path.relative_to(folder)) for path in paths]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
