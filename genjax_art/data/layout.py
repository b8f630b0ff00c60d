"""How the user's files are laid out: `folder/[split/]<label>/<file>`, or without labels; their splits and their order.

A file may be a folder, where that is one example: the frames of a clip.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from genjax_art.data.contract import DataError
from genjax_art.data.folders import left_out, visible_files
from genjax_art.files import printable, some_names

SPLITS = ("train", "test", "validation", "val", "valid")

Row = tuple[Path, str | None]  # a file and its label


@dataclass(frozen=True)
class Layout:
    """Files and their labels for each split; `strays` are those that have no place in it.

    `others` are files of other endings, `empty` the names of folders in the place of labels that hold nothing else.
    """

    splits: dict[str, list[Row]]
    classes: tuple[str, ...]
    strays: list[Path]
    others: list[Path] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def layout_of(folder: Path, files: Sequence[Path], others: Sequence[Path], word: str) -> Layout:
    """How `files` ("pictures", as the `word` may be) are laid out in `folder`, others beside them.

    Raises:
      DataError: they have no layout.
    """
    tops = {places[0] for path in files if len(places := path.relative_to(folder).parts) > 1}
    named_so = {name: top for top in sorted(tops) if (name := top.lower()) in SPLITS}
    split = "train" in named_so and len(named_so) == len(tops)
    bases = {name: folder / named_so[name] for name in SPLITS if name in named_so} if split else {"train": folder}
    splits, empty = {}, []
    strays = [path for path in files if split and path.parent == folder]
    for name, base in bases.items():
        inside = [path for path in files if path.is_relative_to(base)] if split else files
        labelled, direct = ([path for path in inside if len(path.parts) == len(base.parts) + depth] for depth in (2, 1))
        if labelled and len(direct) > len(labelled):
            raise DataError(
                f"folder {base} holds {len(direct)} {word} itself and {len(labelled)} in folders below "
                f"({printable(some_names(sorted(_labels(labelled))))}): "
                "move them all into folders named by label, or all into one"
            )
        placed = labelled or direct
        strays += sorted(set(inside) - set(placed))
        if labelled:
            empty += sorted({other.parent.name for other in others if other.parent.parent == base} - _labels(labelled))
        # one label, whether its name was written by a Mac or not
        splits[name] = [(path, normalize("NFC", path.parent.name) if labelled else None) for path in placed]
        if not placed:
            raise DataError(
                f"folder {base} holds no {word}, nor do folders in it, but deeper ones do: move them up "
                f"(folders of splits are named {', '.join(SPLITS)})"
            )
    if 2 * len(strays) > len(files):  # then the layout is not what was meant
        raise DataError(
            f"folder {folder} has places for {len(files) - len(strays)} of {len(files)} {word} only: move all "
            f"into folders named by label, or into {', '.join(SPLITS)} with nothing beside; left out were "
            f"{named(folder, strays)}"
        )
    classes = _classes(folder, {label for rows in splits.values() for _, label in rows})
    return Layout(splits, classes, strays, list(others), empty)


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


def in_mixed_order(rows: Sequence[Row], split: str) -> list[Row]:
    """An order in which a slice such as train[:10%] has something of everything, the one of TFDS (salted MD5)."""
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def place(i: int) -> bytes:
        digest = salted.copy()
        digest.update(str(i).encode())
        return digest.digest()

    return [rows[i] for i in sorted(range(len(rows)), key=place)]


def without_copies(folder: Path, splits: dict[str, list[Row]], word: str) -> dict[str, list[Row]]:
    """The splits, what is held out not among what is trained on; files are read where their sizes are equal only."""
    held = [path for name, rows in splits.items() if name != "train" for path, _ in rows]
    by_size: dict[int, list[Path]] = {}
    for path in held:
        by_size.setdefault(_size(path), []).append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            try:
                digests[path] = _digest(path)
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
        "left out %d %s to train on that are held out as well: %s", len(copies), word, named(folder, copies)
    )
    if len(copies) == len(splits["train"]):
        raise DataError(f"all {word} in {folder / 'train'} are in another split as well: put different ones there")
    gone = set(copies)
    return {**splits, "train": [row for row in splits["train"] if row[0] not in gone]}


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(_size(inside) for inside in visible_files(path))
    return path.stat().st_size if path.is_file() else -1  # a link to nowhere


def _digest(path: Path) -> bytes:
    if path.is_dir():
        return hashlib.sha256(b"".join(map(_digest, visible_files(path)))).digest()
    with path.open("rb") as file:  # a film may be larger than memory
        return hashlib.file_digest(file, "sha256").digest()


def named(folder: Path, paths: Iterable[Path]) -> str:
    """The names of some files in `folder`, not of all where they are many."""
    return some_names([printable(path.relative_to(folder)) for path in paths])


def warn_left_out(folder: Path, layout: Layout, word: str) -> None:
    """Says what of the folder is not used."""
    log = logging.getLogger(__name__)
    if layout.strays:
        log.warning("left out %d %s beside the layout: %s", len(layout.strays), word, named(folder, layout.strays))
    if layout.others:
        log.warning("left out of %s, which are no %s by their endings: %s", folder, word, left_out(layout.others))
    if like := [label for label in layout.classes if label.lower() in SPLITS]:
        log.warning(
            "folders named like splits are labels here, and all %s are trained on: %s; splits are a folder train and "
            "others of %s, with no other folder beside them",
            *(word, ", ".join(like), ", ".join(SPLITS[1:])),
        )
    if layout.empty:
        log.warning("left out labels without %s: %s", word, ", ".join(map(printable, layout.empty)))
