"""What a data set holds, in a few words that a run keeps: to notice on resuming or measuring that it has changed."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from unicodedata import normalize

import numpy as np
from jaxtyping import Int

from genjax_art.data.contract import DataError, Source
from genjax_art.data.folders import visible_files
from genjax_art.spec import ArraySpec


@dataclass(frozen=True)
class Content:
    """The number of examples, the names of the classes, and a checksum of all examples in their order.

    The checksum is empty where the source has no arrays to compute it of.
    """

    examples: int
    classes: tuple[str, ...]
    checksum: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "classes": list(self.classes)}


def content_of(source: Source) -> Content:
    """The content of a source: of arrays in memory and of decoded pictures on disk all bytes count, of a set that is
    too large to be decoded the names and sizes of its files. A source of your own may have a `fingerprint`, any word.
    Where the data lie does not count.
    """
    if isinstance(source, Relabelled):
        return content_of(source.source)
    return Content(len(source), source.spec.classes, _checksum(source))


def content_from_json(data: Any) -> Content | None:
    """What `Content.to_json` gave; None for anything else, such as the nothing that old runs have."""
    if not isinstance(data, Mapping) or not isinstance(data.get("examples"), int):
        return None
    classes, checksum = data.get("classes"), data.get("checksum")
    if not isinstance(classes, list) or not isinstance(checksum, str):
        return None
    return Content(data["examples"], tuple(map(str, classes)), checksum)


def _checksum(source: Any) -> str:
    if isinstance(own := getattr(source, "fingerprint", None), str):
        return own
    if isinstance(arrays := getattr(source, "arrays", None), Mapping):
        found = {}
        for name, array in arrays.items():
            check = 0
            for start in range(0, len(array), 4096):  # memory-mapped arrays are not copied whole
                piece = np.ascontiguousarray(array[start : start + 4096])
                check = zlib.crc32(piece.view(np.uint8).reshape(-1).data, check)
            found[name] = (array.dtype.str, array.shape, check)
        return checksum_of(found)
    digest = hashlib.sha256()
    if (prepared := getattr(source, "prepared", None)) is not None:
        for path in visible_files(prepared):
            digest.update(f"{path.relative_to(prepared)}\0{path.stat().st_size}\n".encode(errors="surrogateescape"))
    else:
        return ""
    return digest.hexdigest()[:16]


def checksum_of(arrays: Mapping[str, tuple[str, tuple[int, ...], int]]) -> str:
    """The checksum of arrays by their names, NumPy's words for their dtypes, shapes, and the CRC-32 of their bytes."""
    digest = hashlib.sha256()
    for name, (dtype, shape, check) in sorted(arrays.items()):
        digest.update(f"{name}{dtype}{shape}{check}\n".encode())
    return digest.hexdigest()[:16]


def difference(before: Content, now: Content) -> str:
    """What differs, in words; empty where nothing does. Names of classes are the same however a system writes them."""
    had, have = (tuple(normalize("NFC", name) for name in one.classes) for one in (before, now))
    found = [
        f"{what} {', '.join(names)}"
        for what, names in (
            ("new classes", [name for name in have if name not in had]),
            ("missing classes", [name for name in had if name not in have]),
        )
        if names
    ]
    if not found and had != have:
        found.append("classes in another order")
    if before.examples != now.examples:
        found.append(f"{before.examples} examples before and {now.examples} now")
    elif before.checksum and now.checksum and before.checksum != now.checksum:
        found.append("other examples, as many as before")
    return ", ".join(found)


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A source with the classes of an older one, labels matched by name."""

    source: Source
    classes: tuple[str, ...]

    @property
    def spec(self) -> ArraySpec:
        return ArraySpec(**{**asdict(self.source.spec), "classes": self.classes})

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        rows = self.source.take(indices)
        own = [normalize("NFC", name) for name in self.classes]
        table = np.asarray([own.index(normalize("NFC", name)) for name in self.source.spec.classes], np.int32)
        return {**rows, "label": table[rows["label"]]} if "label" in rows else rows


def unknown_classes(source: Source, classes: tuple[str, ...]) -> list[str]:
    """The classes of the source that are none of these, in whichever writing."""
    known = {normalize("NFC", name) for name in classes}
    return [name for name in source.spec.classes if normalize("NFC", name) not in known]


def with_classes(source: Source, classes: tuple[str, ...]) -> Source:
    """The source with these classes, in their order; those that it has no example of may be among them.

    Raises:
      DataError: it has classes that are not among them, or none while there are some.
    """
    if source.spec.classes == classes:
        return source
    if new := unknown_classes(source, classes):
        raise DataError(f"the run knows no class {', '.join(new)}: move them out of the data, or train anew")
    if not source.spec.classes:
        raise DataError(f"the data have no labels, but the run has {', '.join(classes)}: train anew")
    return Relabelled(source, classes)
