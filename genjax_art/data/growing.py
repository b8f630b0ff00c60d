"""An array that grows on disk, file by file, and is gone on with after whatever ended the process.

A picture is one row, a film one for each of its clips. Beside the array lies a journal. Each of its lines says how many
files of a split were seen and how many rows written by then, with the checksum of the split's rows so far, and follows
the rows that it speaks of. On going on,
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

COMMIT_BYTES = 4 * 2**20  # of rows in memory until they are written ...
COMMIT_SECONDS = 1.0  # ... or so long
PIECE = 2**20  # bytes that are read at once
HEADER = 128  # bytes of the .npy format before the rows


@dataclass
class Part:
    """What is on disk of a split: files seen, rows written, the CRC-32 of these, and what was skipped, why."""

    done: int = 0
    rows: int = 0
    crc: int = 0
    skipped: list[tuple[int, str, bool]] = field(default_factory=list)  # position, message, whether it is only unfit
    counts: list[tuple[int, int]] = field(default_factory=list)  # position and rows, where not one, of skipped not none

    def rows_of_each(self) -> list[int]:
        """How many rows each file seen has."""
        found = [1] * self.done
        for at, _, _ in self.skipped:
            found[at] = 0
        for at, rows in self.counts:
            found[at] = rows
        return found


class GrowingArray:
    """The file `path`, in the .npy format, of uint8 rows of one `shape`, with its journal beside it."""

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self._path, self._shape = path, shape
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._lines = os.open(journal_of(path), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.parts: dict[str, Part] = {}
        self._now = Part()
        self._name, self._pending, self._since = "", bytearray(), 0.0
        self._news, self._counts = list[tuple[int, str, bool]](), list[tuple[int, int]]()
        self._own, self._unsaid = 0, 0  # rows of the file that is being read; bytes since the last line
        self._replay()

    def close(self) -> None:
        os.close(self._handle)
        os.close(self._lines)

    def begin(self, split: str) -> Part:
        """From now on, files are of that split; what is on disk of it already. Splits come in the same order."""
        self._name, self._since = split, time.monotonic()
        self._now = self.parts.setdefault(split, Part())
        return self._now

    def append(self, row: UInt8[np.ndarray, "..."]) -> None:
        """A row of the file that is being read."""
        self._pending += row.tobytes()
        self._own, self._unsaid = self._own + 1, self._unsaid + row.nbytes
        if len(self._pending) >= 2 * COMMIT_BYTES:  # within a film: if it is not read to its end, it is read again
            self._write()

    def end(self, message: str | None = None, unfit: bool = False) -> None:
        """No more rows of that file. With a message it could not be read, or no further."""
        if message is not None:
            self._news.append((self._now.done, message, unfit))
        if self._own != (message is None):
            self._counts.append((self._now.done, self._own))
        self._own = 0
        self._now.done += 1
        if self._unsaid >= COMMIT_BYTES or time.monotonic() - self._since >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Writes what is in memory. Raises OSError."""
        self._write()
        now = self._now
        now.skipped += self._news
        now.counts += self._counts
        line = {"split": self._name, "done": now.done, "rows": now.rows, "crc": now.crc, "skipped": self._news}
        # a line that was cut off before stays one of its own
        os.write(self._lines, b"\n" + json.dumps({**line, "counts": self._counts}).encode() + b"\n")
        self._news, self._counts, self._unsaid, self._since = [], [], 0, time.monotonic()

    def _write(self) -> None:
        if not self._pending:
            return
        _write_at(self._handle, self._pending, self._end())
        self._now.crc = zlib.crc32(self._pending, self._now.crc)
        self._now.rows += len(self._pending) // prod(self._shape)
        self._pending = bytearray()

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
        skipped = [(int(at), str(message), bool(unfit)) for at, message, unfit in line["skipped"]]
        counts = [(int(at), int(number)) for at, number in line["counts"]]
        part = self.parts.get(line["split"], Part())
        if line["done"] <= part.done:  # of another process, or there before
            return True
        rows, done = int(line["rows"]), int(line["done"])
        without = {at for at, _, _ in skipped}
        odd = sum(number - (at not in without) for at, number in counts)
        if done - part.done != rows - part.rows + len(skipped) - odd:
            return False
        then = Part(done, rows, int(line["crc"]), part.skipped + skipped, part.counts + counts)
        if crc_of(self._handle, self._end(), (rows - part.rows) * prod(self._shape), part.crc) != then.crc:
            return False
        self.parts[line["split"]] = then
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
