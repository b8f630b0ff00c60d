"""What Ctrl-C, SIGTERM and a lost connection (SIGHUP) do: to an entry script, and to a run, which saves first.

Imports little, so that an entry script can ask for it before everything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from genjax_art.streams import forget

AGAIN = 0.5  # seconds until an interruption that was lost is raised again
_FIRST = "interrupted: the run ends after this step, with a checkpoint"
_SECOND = "the run is ending, with a checkpoint; a third interruption ends it at once, without"


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process, by its number."""

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Runs an entry script; a signal before and after its work, while it is imported or shut down, is one line."""
    _end_at_once("interrupted while it was starting")
    from genjax_art import cli

    _end_at_once("interrupted while it was ending")
    cli.main(command)


@contextmanager
def raising() -> Iterator[None]:
    """Each of these signals raises `Interrupted` where the program is, and until that has ended what is within.

    An exception can be lost, in the callback of a weak reference (imports have some) or in a library that catches
    all: so it is raised again, unless it is on its way.
    """
    caught: list[int] = []

    def stop(number: int, frame: Any) -> None:
        del frame
        caught.append(number)
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise Interrupted(number)

    def stop_again(number: int, frame: Any) -> None:
        del number, frame
        if caught and not _is_on_its_way(sys.exception()):
            raise Interrupted(caught[0])

    def tell(lost: Any) -> None:
        if not isinstance(lost.exc_value, Interrupted):
            hook(lost)

    hook, alarm = sys.unraisablehook, {int(signal.SIGALRM): stop_again}
    with _handled(dict.fromkeys(_numbers(), stop) | alarm):
        sys.unraisablehook = tell
        try:
            yield
        except Exception as error:
            if caught:  # what a library has made of it
                raise Interrupted(caught[0]) from error
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.unraisablehook = hook
        if caught:
            raise Interrupted(caught[0])


def _is_on_its_way(error: BaseException | None) -> bool:
    """Whether `error`, which is being handled, comes of an interruption: what runs now is clearing up."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def collecting() -> Iterator[list[int]]:
    """Collects these signals, for a run to stop at the next step. The second one only warns, the third ends it."""
    caught: list[int] = []
    terminals = [handle for handle in (1, 2) if os.isatty(handle)]

    def note(number: int, frame: Any) -> None:
        del frame
        caught.append(number)
        if number == getattr(signal, "SIGHUP", None):
            forget(terminals)
        if len(caught) > 1:
            for other in _numbers():  # the system's own answer, which works within a long computation, too
                signal.signal(other, signal.SIG_DFL)
        _say(_FIRST if len(caught) == 1 else _SECOND)

    with _handled(dict.fromkeys(_numbers(), note)):
        yield caught


@contextmanager
def _handled(handlers: Mapping[int, Callable[[int, Any], None]]) -> Iterator[None]:
    """Only the main thread may say what signals do."""
    mine = threading.current_thread() is threading.main_thread()
    before: dict[int, Any] = {n: signal.signal(n, handler) for n, handler in handlers.items()} if mine else {}
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


def _end_at_once(line: str) -> None:
    def end(number: int, frame: Any) -> None:
        del frame
        _say(line)
        os._exit(128 + number)

    for number in _numbers():
        signal.signal(number, end)


def _say(line: str) -> None:
    """Past Python's buffers, which may be in use: a signal comes at any time."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())
