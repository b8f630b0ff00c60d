"""Files of pictures and films decoded on all cores, in their order.

In processes: threads do not scale, since much of a small picture's time is Python's (two threads on two cores read
64x64 JPEGs 0.9 times as fast as one, two processes 1.4 times), and what warns or not is no thread's own. They are
programs of their own, neither forked (JAX's threads would not be there) nor of `multiprocessing` (which runs the
user's script again), and end when this process does, however it ends.

A picture is one row, a film as many as it has clips. Rows are passed on as they are read, and a process waits where
more than a few wait for it: however long a film is, memory is bounded.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from math import prod
from pathlib import Path
from queue import Full, Queue, SimpleQueue
from types import TracebackType
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from genjax_art.errors import RunError
from genjax_art.films import Unfit, Wanted, read_clips
from genjax_art.pictures import TooLarge, read_picture

CHUNK_FILES = 16  # that a process is asked for at once, ...
CHUNK_BYTES = 2**18  # ... or fewer, when their rows are large
AHEAD = 3  # chunks asked for ahead of the oldest, for each process
WAITING_BYTES = 2**22  # of rows of a film that wait to be used
POLL_SECONDS = 0.2  # between looks at whether all this is over

Row = UInt8[np.ndarray, "..."]


@dataclass(frozen=True)
class Pictures:
    """Pictures of that (height, width) in pixels and channels, see `read_picture`."""

    size: tuple[int, int]
    channels: int

    word: ClassVar[str] = "pictures"
    unfit: ClassVar[str] = "too large"
    remedy: ClassVar[str] = "make {names} smaller"

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.size, self.channels)

    def rows(self, path: Path) -> Iterator[Row]:
        yield read_picture(path, self.size, self.channels)


@dataclass(frozen=True)
class Clips:
    """Clips of so many frames, at most `most` of a film (None: all), see `films.read_clips`."""

    frames: int
    size: tuple[int, int]
    channels: int
    rate: float
    stride: int
    strip: int | None
    most: int | None

    word: ClassVar[str] = "clips"
    unfit: ClassVar[str] = "too short, too large or still"
    remedy: ClassVar[str] = "ask for fewer --data.frames, or mend {names} ({reason})"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, *self.size, self.channels)

    def rows(self, path: Path) -> Iterator[Row]:
        wanted = Wanted(self.size, self.channels, self.rate, self.stride, self.strip)
        return read_clips(path, self.frames, wanted, self.most)


Reader = Pictures | Clips
READERS: dict[str, type[Pictures] | type[Clips]] = {"Pictures": Pictures, "Clips": Clips}


@dataclass(frozen=True)
class Unread:
    """Why a file was not read, or no further: it is broken or, where `unfit`, too large or too short to be used."""

    message: str
    unfit: bool


@dataclass(frozen=True)
class End:
    """There are no more rows of a file."""

    unread: Unread | None = None


def decode(path: Path, reader: Reader) -> Iterator[Row | End]:
    """The rows of a file, and its end."""
    try:
        yield from reader.rows(path)
    except Exception as error:  # Pillow and PyAV raise a dozen kinds, by format
        yield End(Unread(" ".join(str(error).split()), isinstance(error, TooLarge | Unfit)))
    else:
        yield End()


Answer = Row | End | BaseException | None  # of a process; None: there are no more


class Decoders:
    """So many processes that decode files by one reader; with 0, this one does."""

    def __init__(self, reader: Reader, processes: int):
        self._reader = reader
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()
        self._all = [_Decoder(reader) for _ in range(processes)]
        self._threads = ThreadPoolExecutor(processes) if processes else None
        self._closed = False

    def __enter__(self) -> "Decoders":
        for decoder in self._all:
            self._idle.put(decoder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            for decoder in self._all:  # what they are waited for ends
                decoder.close()
            self._threads.shutdown()
        for decoder in self._all:  # one may have been starting
            decoder.close()

    def read(self, paths: Iterable[Path]) -> Iterator[Row | End]:
        """For each of `paths`, in their order, its rows and then its end; a bounded number is decoded ahead.

        Raises:
          RunError: a process cannot start, or was killed.
        """
        if not self._threads:
            for path in paths:
                yield from decode(path, self._reader)
            return
        length = max(1, min(CHUNK_FILES, CHUNK_BYTES // prod(self._reader.shape)))
        left = iter(paths)
        chunks = iter(lambda: list(islice(left, length)), [])
        asked: deque[Queue[Answer]] = deque()
        for chunk in islice(chunks, AHEAD * len(self._all)):
            asked.append(self._ask(chunk))
        while asked:
            answers = asked.popleft()
            while (answer := answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
            for chunk in islice(chunks, 1):
                asked.append(self._ask(chunk))

    def _ask(self, paths: Sequence[Path]) -> "Queue[Answer]":
        """Rows and ends of `paths` as they come, and then None."""
        room = max(2 * len(paths), WAITING_BYTES // prod(self._reader.shape))
        answers: Queue[Answer] = Queue(room + 1)
        assert self._threads is not None
        self._threads.submit(self._answer, paths, answers)
        return answers

    def _answer(self, paths: Sequence[Path], answers: "Queue[Answer]") -> None:
        decoder = self._idle.get()
        last: BaseException | None = None
        try:
            for answer in decoder.read(paths):
                self._put(answers, answer)
        except BaseException as error:
            last = error
        self._idle.put(decoder)
        if last is not None:
            self._put(answers, last)
        self._put(answers, None)

    def _put(self, answers: "Queue[Answer]", answer: Row | End | BaseException | None) -> None:
        while not self._closed:
            with suppress(Full):
                answers.put(answer, timeout=POLL_SECONDS)
                return


class _Decoder:
    """One process, started when it is first asked."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def read(self, paths: Sequence[Path]) -> Iterator[Row | End]:
        """A file that ends two processes, by a defect of a decoder, counts as one that cannot be read."""
        at, rows, failures = 0, 0, 0  # the file that is being read, its rows so far, and what it has ended
        while at < len(paths):
            if self._closed:
                raise EOFError
            process = self._process = self._process or _start()
            skip = rows
            try:
                for answer in self._exchange(process, paths[at:]):
                    if isinstance(answer, End):
                        at, rows, failures, skip = at + 1, 0, 0, 0
                    elif skip:  # passed on before the process ended
                        skip -= 1
                        continue
                    else:
                        rows += 1
                    yield answer
            except (OSError, EOFError, ValueError) as error:
                if self._closed:
                    raise
                status = self._end()
                if status in (-signal.SIGKILL, 1):
                    reason = "was killed, of memory perhaps" if status < 0 else "cannot work"
                    raise RunError(f"a process that decodes files {reason} (at {paths[at]}): start again") from error
                failures += 1
                if failures == 2:
                    yield End(Unread(f"decoding it ended a process (status {status})", unfit=False))
                    at, rows, failures = at + 1, 0, 0

    def _exchange(self, process: "subprocess.Popen[bytes]", paths: Sequence[Path]) -> Iterator[Row | End]:
        assert process.stdin is not None and process.stdout is not None
        reader = {"reader": type(self._reader).__name__, "options": asdict(self._reader)}
        process.stdin.write(json.dumps({**reader, "paths": [str(path) for path in paths]}).encode() + b"\n")
        process.stdin.flush()
        shape = self._reader.shape
        for _ in paths:
            while process.stdout.read(1) == A_ROW:
                yield np.frombuffer(process.stdout.read(prod(shape)), np.uint8).reshape(shape)  # ValueError if cut off
            unread = json.loads(process.stdout.readline())
            yield End(None if unread is None else Unread(**unread))

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None and process.stdout is not None
        status = process.wait()
        process.stdout.close()
        with suppress(OSError):  # what it was not sent is lost
            process.stdin.close()
        return status

    def close(self) -> None:
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._end()


def _start() -> "subprocess.Popen[bytes]":
    """With the modules of this process, not those of the working directory; Ctrl-C does not reach it."""
    path = os.pathsep.join(folder for folder in sys.path if folder)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        process_group=0,
    )


A_ROW, AN_END = b"R", b"E"  # what comes next: the bytes of a row; a line of why there are no more, null at a file's end


def main() -> None:
    """Answers each line of standard input, file by file: its rows as they are read, then its end."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write there
    for line in sys.stdin.buffer:
        request = json.loads(line)
        options = request["options"]
        reader = READERS[request["reader"]](**{**options, "size": tuple(options["size"])})
        try:
            for path in request["paths"]:
                for answer in decode(Path(path), reader):
                    if isinstance(answer, End):
                        unread = None if answer.unread is None else vars(answer.unread)
                        answers.write(AN_END + json.dumps(unread).encode() + b"\n")
                    else:
                        answers.write(A_ROW + answer.tobytes())
            answers.flush()
        except BrokenPipeError:  # who asked has ended
            os._exit(0)
