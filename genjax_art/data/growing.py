"""An array that grows on disk, picture by picture, and is gone on with after whatever ended the process.

Beside the array lies a journal. Each of its lines says how many pictures of a split were seen and how many of them
written by then, with the checksum of the split's rows so far, and follows the rows that it speaks of. On going on,
the rows are read and count as far as they have the checksums of the journal: a line or a row that was half written,
or that the system had not brought to disk, does not. What is written is the same each time, so that two processes
at once, where a file system has no locks, do no harm.
"""

import json
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

COMMIT_BYTES = 4 * 2**20  # of pictures in memory until they are written ...
COMMIT_SECONDS = 1.0  # ... or so long
PIECE = 2**20  # bytes that are read at once
HEADER = 128  # bytes of the .npy format before the rows


@dataclass
class Part:
    """What is on disk of a split: pictures seen, of them written, the CRC-32 of these, and what was skipped, why."""

    done: int = 0
    rows: int = 0
    crc: int = 0
    skipped: list[tuple[int, str, bool]] = field(default_factory=list)  # position, message, whether it is too large


class GrowingArray:
    """The file `path`, in the .npy format, of uint8 rows of one `shape`, with its journal beside it."""

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self._path, self._shape = path, shape
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._lines = os.open(journal_of(path), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.parts: dict[str, Part] = {}
        self._now = Part()
        self._name, self._pending, self._news, self._since = "", bytearray(), list[tuple[int, str, bool]](), 0.0
        self._replay()

    def close(self) -> None:
        os.close(self._handle)
        os.close(self._lines)

    def begin(self, split: str) -> Part:
        """From now on, pictures are of that split; what is on disk of it already. Splits come in the same order."""
        self._name, self._since = split, time.monotonic()
        self._now = self.parts.setdefault(split, Part())
        return self._now

    def append(self, row: UInt8[np.ndarray, "..."]) -> None:
        self._pending += row.tobytes()
        self._seen()

    def skip(self, message: str, large: bool) -> None:
        """Instead of a row."""
        self._news.append((self._now.done, message, large))
        self._seen()

    def _seen(self) -> None:
        self._now.done += 1
        if len(self._pending) >= COMMIT_BYTES or time.monotonic() - self._since >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Writes what is in memory. Raises OSError."""
        now = self._now
        _write_at(self._handle, self._pending, self._end())
        now.crc = zlib.crc32(self._pending, now.crc)
        now.rows += len(self._pending) // prod(self._shape)
        now.skipped += self._news
        line = {"split": self._name, "done": now.done, "rows": now.rows, "crc": now.crc, "skipped": self._news}
        # a line that was cut off before stays one of its own
        os.write(self._lines, b"\n" + json.dumps(line).encode() + b"\n")
        self._pending, self._news, self._since = bytearray(), [], time.monotonic()

    def finish(self) -> None:
        """Brings the file to its final form, and to disk. Raises OSError."""
        rows = sum(part.rows for part in self.parts.values())
        _write_at(self._handle, header((rows, *self._shape)), 0)
        os.ftruncate(self._handle, HEADER + rows * prod(self._shape))
        os.fsync(self._handle)

    def _end(self) -> int:
        return HEADER + prod(self._shape) * sum(part.rows for part in self.parts.values())

    def _replay(self) -> None:
        with os.fdopen(os.dup(self._lines), "rb") as file:
            for line in file:
                with suppress(ValueError, KeyError, TypeError):
                    if not self._follow(json.loads(line)):
                        return

    def _follow(self, line: dict[str, Any]) -> bool:
        """Goes on to a line of the journal; False where the rows are not what it says."""
        skipped = [(int(at), str(message), bool(large)) for at, message, large in line["skipped"]]
        part = self.parts.get(line["split"], Part())
        if line["done"] <= part.done:  # of another process, or there before
            return True
        rows, done = int(line["rows"]), int(line["done"])
        if done - part.done != rows - part.rows + len(skipped):
            return False
        crc = crc_of(self._handle, self._end(), (rows - part.rows) * prod(self._shape), part.crc)
        if crc != line["crc"]:
            return False
        self.parts[line["split"]] = Part(done, rows, crc, part.skipped + skipped)
        return True


def journal_of(path: Path) -> Path:
    return path.with_suffix(".journal")


def header(shape: Sequence[int], dtype: str = "|u1") -> bytes:
    """What stands before the rows of an array in a .npy file (NumPy's format 1.0), `HEADER` bytes."""
    words = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
    start = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return start + words.ljust(HEADER - len(start) - 1) + b"\n"


def crc_of(handle: int, start: int, length: int, crc: int = 0) -> int:
    """The CRC-32 of up to `length` bytes of an open file from `start` on, after others with the checksum `crc`."""
    end = start + length
    while start < end and (piece := os.pread(handle, min(PIECE, end - start), start)):
        crc = zlib.crc32(piece, crc)
        start += len(piece)
    return crc


def _write_at(handle: int, content: bytes | bytearray, start: int) -> None:
    left = memoryview(content)
    while left:  # a call may write less
        written = os.pwrite(handle, left, start)
        left, start = left[written:], start + written
