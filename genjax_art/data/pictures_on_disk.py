"""Decoded pictures and clips in a folder on disk, memory-mapped when opened: sets may be larger than memory.

A folder holds `x.npy` (uint8, the rows of all splits, one split after the other), `label.npy` (int32, where there are
labels) and `set.json`, written last: rows and checksums of each split, and in a second line that of the first. Pictures
of the size and time that it says are not read when they are opened; others are, and what has other checksums is made
again, never trusted.
"""

import json
import mmap
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, UInt8

from genjax_art.data.content import checksum_of
from genjax_art.data.contract import NoSplit
from genjax_art.data.growing import HEADER, Part, crc_of, header
from genjax_art.files import replacing
from genjax_art.spec import ArraySpec

ARRAY, LABELS, META = "x.npy", "label.npy", "set.json"
Range = tuple[int, int]  # the first row and that after the last


@dataclass(frozen=True, eq=False)
class PictureRows:
    """A source: some ranges of the rows of memory-mapped pictures, one after the other."""

    spec: ArraySpec
    x: UInt8[np.ndarray, "n *shape"]
    label: Int32[np.ndarray, " n"] | None
    ranges: tuple[Range, ...]
    mapped: mmap.mmap  # the file that x lies in, after its header
    checksums: Mapping[str, int] | None = None  # CRC-32 of the rows of each array, where they are known

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        rows = self._rows(indices)
        self._ask_for(rows)
        return {"x": self.x[rows]} | ({} if self.label is None else {"label": self.label[rows]})

    def _ask_for(self, rows: Int[np.ndarray, " n"]) -> None:
        """Has the disk read all of the rows at once: else each waits for the one before it (13 times as long)."""
        length = prod(self.spec.shape)
        for start in (HEADER + rows * length).tolist():
            before = start % mmap.PAGESIZE
            self.mapped.madvise(mmap.MADV_WILLNEED, start - before, length + before)

    def _rows(self, indices: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        lengths = np.array([stop - start for start, stop in self.ranges])
        ends = np.cumsum(lengths)
        if len(indices) and not (indices.min() >= 0 and indices.max() < ends[-1]):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of {ends[-1]}")
        shifts = np.array([start for start, _ in self.ranges]) - (ends - lengths)
        return indices + shifts[np.searchsorted(ends, indices, side="right")]

    @cached_property
    def fingerprint(self) -> str:
        """The same as of these arrays in memory; what was counted when they were written is not read again."""
        arrays = {"x": self.x} | ({} if self.label is None else {"label": self.label})
        found = self.checksums or {name: self._checksum(array) for name, array in arrays.items()}
        return checksum_of(
            {name: (array.dtype.str, (len(self), *array.shape[1:]), found[name]) for name, array in arrays.items()}
        )

    def _checksum(self, array: np.ndarray) -> int:
        check = 0
        for start, stop in self.ranges:
            for first in range(start, stop, 1024):
                check = zlib.crc32(array[first : min(first + 1024, stop)].tobytes(), check)
        return check


def write_meta(
    folder: Path, parts: Mapping[str, Part], labels: Int32[np.ndarray, " n"] | None, spec: ArraySpec
) -> None:
    """Writes the labels and, last, what makes the pictures in `folder` a set. Raises OSError."""
    splits, start = {}, 0
    for name, part in parts.items():
        stop = start + part.rows
        splits[name] = {"rows": part.rows, "x": part.crc}
        if labels is not None:
            splits[name]["label"] = zlib.crc32(labels[start:stop].tobytes())
        start = stop
    if labels is not None:
        with replacing(folder / LABELS) as new:
            new.write_bytes(_saved(labels))
    status = (folder / ARRAY).stat()
    meta = {
        "shape": spec.shape,
        "classes": spec.classes,
        "kind": spec.kind,
        "rate": spec.rate,
        "splits": splits,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }
    with replacing(folder / META) as new, new.open("wb") as file:
        words = json.dumps(meta).encode()
        file.write(b"%s\n%d\n" % (words, zlib.crc32(words)))
        file.flush()
        os.fsync(file.fileno())


def _saved(labels: Int32[np.ndarray, " n"]) -> bytes:
    return header(labels.shape, "<i4") + labels.astype("<i4").tobytes()


def open_rows(folder: Path, split: str, name: str) -> PictureRows | None:
    """The rows of a split (or a slice, as `train[:10%]`) of the pictures in `folder`; None where there are none.

    Raises:
      NoSplit: no such split of the set `name`. OSError, ValueError, KeyError, TypeError: they are not to be trusted.
    """
    try:
        words, check, _ = (folder / META).read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    if zlib.crc32(words) != int(check):
        raise ValueError(f"{META} has another checksum than when it was written")
    meta = json.loads(words)
    shape = tuple(int(side) for side in meta["shape"])
    classes = tuple(str(word) for word in meta["classes"])
    rate = None if meta["rate"] is None else float(meta["rate"])
    spec = ArraySpec(shape, kind=str(meta["kind"]), classes=classes, rate=rate)
    rows = {str(key): int(part["rows"]) for key, part in meta["splits"].items()}
    count = sum(rows.values())
    _check_array(folder / ARRAY, (count, *shape), meta)
    with (folder / ARRAY).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    x = np.frombuffer(mapped, np.uint8, offset=HEADER).reshape(count, *shape)
    label = _read_labels(folder / LABELS, count, meta) if spec.classes else None
    ranges = _ranges(rows, split, name)
    known = {key: int(check) for key, check in meta["splits"].get(split, {}).items() if key != "rows"}
    return PictureRows(spec, x, label, ranges, mapped, known or None)


def _check_array(path: Path, shape: tuple[int, ...], meta: Mapping[str, Any]) -> None:
    start = header(shape)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) == (meta["bytes"], meta["mtime_ns"]):
            return
        right, at = file.read(HEADER) == start and status.st_size == meta["bytes"], HEADER
        for part in meta["splits"].values():
            length = int(part["rows"]) * prod(shape[1:])
            right, at = right and crc_of(file.fileno(), at, length) == part["x"], at + length
    if not right:
        raise ValueError(f"{path.name} has another checksum than when it was written")
    with suppress(OSError):  # a copy: next time it need not be read, unless it is another user's
        os.utime(path, ns=(status.st_atime_ns, meta["mtime_ns"]))


def _read_labels(path: Path, count: int, meta: Mapping[str, Any]) -> Int32[np.ndarray, " n"]:
    content = path.read_bytes()
    labels = np.frombuffer(content, "<i4", offset=HEADER).astype(np.int32)
    at = 0
    for part in meta["splits"].values():
        if zlib.crc32(labels[at : at + part["rows"]].astype("<i4").tobytes()) != part["label"]:
            raise ValueError(f"{path.name} has another checksum than when it was written")
        at += part["rows"]
    if len(labels) != count or labels.min() < 0 or labels.max() >= len(meta["classes"]):
        raise ValueError(f"{path.name} has other labels than the set")
    return labels


def _ranges(rows: Mapping[str, int], split: str, name: str) -> tuple[Range, ...]:
    """Which rows a split is, of splits that lie one after the other."""
    starts = dict(zip(rows, np.cumsum([0, *rows.values()]).tolist(), strict=False))
    if split in rows:
        return ((starts[split], starts[split] + rows[split]),)
    # not at the top: an import of 0.7 s that whole splits do without
    import tensorflow_datasets as tfds

    infos = {key: tfds.core.SplitInfo(name=key, shard_lengths=[n], num_bytes=0) for key, n in rows.items()}
    try:
        absolute = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
        found = [_range(starts[part.splitname], rows[part.splitname], part.from_, part.to) for part in absolute]
    except (KeyError, ValueError, NotImplementedError):
        found = []
    if not (ranges := tuple((start, stop) for start, stop in found if start < stop)):
        raise NoSplit(name, split, [*rows, "all"])
    return ranges


def _range(start: int, length: int, first: int | None, after: int | None) -> Range:
    return start + (first or 0), start + (length if after is None else after)
