"""The user's own files, pictures or clips, decoded once to a folder on disk, and what of them could not be read."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from genjax_art.data.contract import DataError
from genjax_art.data.decoders import Reader, Unread
from genjax_art.data.folders import fingerprint, visible_names
from genjax_art.data.growing import Part
from genjax_art.data.layout import Layout, in_mixed_order, named, warn_left_out, without_copies
from genjax_art.data.pictures_on_disk import write_meta
from genjax_art.data.preparing import write_rows
from genjax_art.files import printable
from genjax_art.spec import ArraySpec

ROOM = Path(__file__).parent
# that make a prepared set what it is
CODE = ("decoders", "folders", "growing", "layout", "own_folder", "pictures_on_disk", "../films", "../pictures")


@dataclass(frozen=True)
class OwnFolder:
    """Files of the user's for the data set `name`, how they are read, and what an example is (without classes)."""

    name: str
    folder: Path
    reader: Reader
    spec: ArraySpec
    layout: Callable[[], Layout]

    @property
    def variant(self) -> str:
        """A name for these files, by their names, sizes and times, in this form, by the code that makes it."""
        known = fingerprint(self.folder, visible_names(self.folder)) + repr((self.reader, self.spec))
        code = hashlib.sha256(known.encode())
        for path in (*(ROOM / f"{name}.py" for name in CODE), ROOM / "sets" / f"{self.name}.py"):
            code.update(path.read_bytes())
        return "x".join(map(str, self.spec.shape)) + f"-{code.hexdigest()[:16]}"

    def prepare(self, place: Path) -> None:
        """Decodes all files into the folder `place`, from where it was interrupted.

        Raises:
          DataError: no layout, too many unreadable files, or no room.
        """
        layout, word = self.layout(), self.reader.word
        warn_left_out(self.folder, layout, word)
        kept = without_copies(self.folder, layout.splits, word)
        splits = {name: in_mixed_order(rows, name) for name, rows in kept.items()}
        skipped = Skipped(self.folder, self.reader, sum(map(len, splits.values())))
        labels: list[str | None] = []

        def check(split: str, part: Part) -> None:
            counts = part.rows_of_each()
            read = [label for (_, label), rows in zip(splits[split], counts, strict=True) for _ in range(rows)]
            labels.extend(read)
            skipped.add({splits[split][at][0]: (Unread(why, unfit), counts[at]) for at, why, unfit in part.skipped})
            skipped.check(enough=bool(read), last=split == list(splits)[-1])
            if missing := sorted(set(layout.classes) - set(read)):
                which = f"no {word[:-1]} of the label"
                logging.getLogger(__name__).warning("%s %s in the split %s", which, ", ".join(missing), split)

        paths = {split: [path for path, _ in rows] for split, rows in splits.items()}
        parts = write_rows(place, self.name, paths, self.reader, check)
        index: dict[str | None, int] = {label: i for i, label in enumerate(layout.classes)}
        found = np.array([index[label] for label in labels], np.int32) if layout.classes else None
        write_meta(place, parts, found, replace(self.spec, classes=layout.classes))


@dataclass
class Skipped:
    """What could not be read of so many files."""

    folder: Path
    reader: Reader
    total: int
    broken: list[Path] = field(default_factory=list)
    unfit: list[Path] = field(default_factory=list)
    reason: str = ""  # of the first that is unfit

    def add(self, unread: Mapping[Path, tuple[Unread, int]]) -> None:
        """Names what could not be read of a split, or only so many rows of it."""
        log = logging.getLogger(__name__)
        for path, (why, rows) in sorted(unread.items()):
            if rows:
                log.warning("broken after %d %s: %s: %s", rows, self.reader.word, printable(path), why.message)
                continue
            (self.unfit if why.unfit else self.broken).append(path)
            self.reason = self.reason or (why.message if why.unfit else "")
            log.warning("skipped %s: %s", printable(path), why.message)

    def check(self, *, enough: bool, last: bool) -> None:
        """After a split. Raises DataError where nothing of it could be read or, in the end, too much could not."""
        word, unfit = self.reader.word, self.reader.unfit
        if not enough and self.unfit and not self.broken:
            remedy = self.reader.remedy.format(names=named(self.folder, self.unfit), reason=self.reason)
            raise DataError(f"all {word} are {unfit}: {remedy}")
        if (last or not enough) and (100 * len(self.broken) > self.total or not enough):
            raise DataError(
                f"{len(self.broken)} of {self.total} {word} in {self.folder} cannot be read, more than 1 %: "
                f"mend or remove {named(self.folder, self.broken)}"
            )
        if last and self.unfit:
            log = logging.getLogger(__name__)
            log.warning("skipped %d %s %s: %s", len(self.unfit), unfit, word, named(self.folder, self.unfit))
