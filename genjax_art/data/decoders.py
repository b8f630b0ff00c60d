"""Picture files decoded on all cores, in their order.

In processes: threads do not scale, since much of a small picture's time is Python's (two threads on two cores read
64x64 JPEGs 0.9 times as fast as one, two processes 1.4 times), and what warns or not is no thread's own. They are
programs of their own, neither forked (JAX's threads would not be there) nor of `multiprocessing` (which runs the
user's script again), and end when this process does, however it ends.
"""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO

import numpy as np
from jaxtyping import UInt8

from genjax_art.errors import RunError
from genjax_art.pictures import TooLarge, read_picture

CHUNK_PICTURES = 16  # that a process is asked for at once, ...
CHUNK_BYTES = 2**18  # ... or fewer, when they are large
AHEAD = 3  # chunks asked for ahead of the oldest, for each process

Picture = UInt8[np.ndarray, "height width channels"]


@dataclass(frozen=True)
class Unread:
    """Why a picture was not read: it is broken or, where `large`, too large."""

    message: str
    large: bool


def decode(path: Path, size: tuple[int, int], channels: int) -> Picture | Unread:
    """The picture of that (height, width) in pixels and channels, see `read_picture`, or why there is none."""
    try:
        return read_picture(path, size, channels)
    except Exception as error:  # Pillow raises a dozen kinds, by format
        return Unread(" ".join(str(error).split()), isinstance(error, TooLarge))


class Decoders:
    """So many processes that decode pictures to one (height, width) in pixels and channels; with 0, this one does."""

    def __init__(self, size: tuple[int, int], channels: int, processes: int):
        self._size, self._channels = size, channels
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()
        self._all = [_Decoder(size, channels) for _ in range(processes)]
        self._threads = ThreadPoolExecutor(processes) if processes else None

    def __enter__(self) -> "Decoders":
        for decoder in self._all:
            self._idle.put(decoder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            for decoder in self._all:  # what they are waited for ends
                decoder.close()
            self._threads.shutdown()
        for decoder in self._all:  # one may have been starting
            decoder.close()

    def read(self, paths: Iterable[Path]) -> Iterator[Picture | Unread]:
        """The pictures in the order of `paths`; a bounded number of them is decoded ahead.

        Raises:
          RunError: a process cannot start, or was killed.
        """
        if not self._threads:
            yield from (decode(path, self._size, self._channels) for path in paths)
            return
        length = max(1, min(CHUNK_PICTURES, CHUNK_BYTES // (self._size[0] * self._size[1] * self._channels)))
        left = iter(paths)
        chunks = iter(lambda: list(islice(left, length)), [])
        asked: deque[Future[list[Picture | Unread]]] = deque()
        for chunk in islice(chunks, AHEAD * len(self._all)):
            asked.append(self._threads.submit(self._ask, chunk))
        while asked:
            yield from asked.popleft().result()
            for chunk in islice(chunks, 1):
                asked.append(self._threads.submit(self._ask, chunk))

    def _ask(self, paths: Sequence[Path]) -> list[Picture | Unread]:
        decoder = self._idle.get()
        try:
            return decoder.read(paths)
        finally:
            self._idle.put(decoder)


class _Decoder:
    """One process, started when it is first asked."""

    def __init__(self, size: tuple[int, int], channels: int):
        self._size, self._channels = size, channels
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def read(self, paths: Sequence[Path]) -> list[Picture | Unread]:
        """A picture that ends the process, by a defect of a decoder, counts as one that cannot be read."""
        if self._closed:
            raise EOFError
        process = self._process = self._process or _start()
        try:
            return self._exchange(process, paths)
        except (OSError, EOFError, ValueError) as error:
            if self._closed:
                raise
            status = self._end()
            if status in (-signal.SIGKILL, 1):
                reason = "was killed, of memory perhaps" if status < 0 else "cannot work"
                raise RunError(f"a process that decodes pictures {reason} (at {paths[0]}): start again") from error
            if len(paths) == 1:
                return [Unread(f"decoding it ended a process (status {status})", large=False)]
        return [result for path in paths for result in self.read([path])]

    def _exchange(self, process: "subprocess.Popen[bytes]", paths: Sequence[Path]) -> list[Picture | Unread]:
        assert process.stdin is not None and process.stdout is not None
        request = {"paths": [str(path) for path in paths], "size": self._size, "channels": self._channels}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answers = json.loads(process.stdout.readline())
        return [self._receive(process.stdout) if answer is None else Unread(**answer) for answer in answers]

    def _receive(self, stream: IO[bytes]) -> Picture:
        shape = (*self._size, self._channels)
        content = stream.read(prod(shape))
        return np.frombuffer(content, np.uint8).reshape(shape)  # ValueError where some is missing

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


def main() -> None:
    """Answers each line of standard input: which of its pictures cannot be read, in a line, then the others' bytes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write there
    for line in sys.stdin.buffer:
        request = json.loads(line)
        size = (request["size"][0], request["size"][1])
        results = [decode(Path(path), size, request["channels"]) for path in request["paths"]]
        words = [vars(result) if isinstance(result, Unread) else None for result in results]
        try:
            answers.write(json.dumps(words).encode() + b"\n")
            answers.writelines(result.tobytes() for result in results if not isinstance(result, Unread))
            answers.flush()
        except BrokenPipeError:  # who asked has ended
            os._exit(0)
