"""How a command ends: a user's error is one line and an exit status, a defect a traceback."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from genjax_art import interrupts
from genjax_art.errors import UsageError
from genjax_art.files import printable
from genjax_art.streams import forget

NO_READER = 141  # as of a process that SIGPIPE ended
PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR)


@contextmanager
def one_line(debug: bool) -> Iterator[None]:
    """Prints the error that is raised within and exits; with `debug`, and of a defect, the traceback is shown."""
    try:
        yield
    except BrokenPipeError:  # `| head` has read enough
        forget((1, 2))
        sys.exit(NO_READER)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if debug or (words := _words(error)) is None:
            raise
        with suppress(OSError):
            print(f"error: {' '.join(words.split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt as error:
        if debug:
            raise
        with suppress(OSError):  # the terminal may be gone
            print("interrupted", file=sys.stderr)
        sys.exit(error.status if isinstance(error, interrupts.Interrupted) else 130)


def _words(error: Exception) -> str | None:
    """What to tell the user; None of a defect."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)[:200]:
        what = str(error).partition("\n")[0].removeprefix("RESOURCE_EXHAUSTED: ")[:200].rstrip(" .")
        return (
            f"the memory is not enough ({what or 'no size is known'}): train with a smaller --batch-size, "
            "--micro-batches 4 or --model.remat, draw and measure with a smaller --n"
        )
    if isinstance(error, OSError) and error.errno in PLACES and error.filename is not None:
        name = printable(os.fsdecode(error.filename))
        return f"{name}: {error.strerror}: make room or allow it there, or name another place"
    told = isinstance(error, OSError) or (isinstance(error, ValueError) and _raised_by_us(error))
    return str(error) if told else None


def _raised_by_us(error: BaseException) -> bool:
    """Whether it is an error of ours, or the innermost frame is our code: a word to the user. Others are defects."""
    if type(error).__module__.startswith("genjax_art."):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("genjax_art")
