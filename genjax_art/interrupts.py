"""What Ctrl-C, SIGTERM and a lost connection (SIGHUP) do: to an entry script, and to a run, which saves first.

Imports little, so that an entry script can ask for it before everything else.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

_FIRST = "interrupted: the run ends after this step, with a checkpoint"
_SECOND = "the run is ending, with a checkpoint; a third interruption ends it at once, without"


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process, by its number."""

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Runs an entry script; a signal while it is imported is one line."""
    for number in _numbers():
        signal.signal(number, _quit)
    from genjax_art import cli

    cli.main(command)


@contextmanager
def raising() -> Iterator[None]:
    """Each of these signals raises `Interrupted` where the program is."""

    def stop(number: int, frame: Any) -> None:
        del frame
        raise Interrupted(number)

    with _handled(stop):
        yield


@contextmanager
def collecting() -> Iterator[list[int]]:
    """Collects these signals, for a run to stop at the next step. The second one only warns, the third ends it."""
    caught: list[int] = []
    terminals = [handle for handle in (1, 2) if os.isatty(handle)]

    def note(number: int, frame: Any) -> None:
        del frame
        caught.append(number)
        if number == getattr(signal, "SIGHUP", None):
            _forget(terminals)
        if len(caught) > 1:
            for other in _numbers():  # the system's own answer, which works within a long computation, too
                signal.signal(other, signal.SIG_DFL)
        _say(_FIRST if len(caught) == 1 else _SECOND)

    with _handled(note):
        yield caught


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Only the main thread may say what signals do."""
    mine = threading.current_thread() is threading.main_thread()
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in _numbers()} if mine else {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _numbers() -> list[int]:
    """Ctrl-C, SIGTERM, and SIGHUP unless it is to be ignored (nohup)."""
    hangup = getattr(signal, "SIGHUP", None)
    heard = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return [int(signal.SIGINT), int(signal.SIGTERM), *([int(hangup)] if hangup is not None and heard else [])]


def _quit(number: int, frame: Any) -> None:
    del frame
    _say("interrupted while it was starting")
    os._exit(128 + number)


def _say(line: str) -> None:
    """Past Python's buffers, which may be in use: a signal comes at any time."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())


def _forget(terminals: Sequence[int]) -> None:
    """What is printed to a terminal that has gone is lost, and no error."""
    with suppress(OSError):
        sink = os.open(os.devnull, os.O_WRONLY)
        for handle in terminals:
            os.dup2(sink, handle)
        os.close(sink)
