"""The standard streams: as everything expects them at the start, and where nobody reads them any more."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress


def open_streams() -> None:
    """The standard streams as everything expects them: one that was closed before the start, as daemons do, leads
    nowhere, and the next file that is opened does not get its number."""
    for name, handle, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != handle:
                os.dup2(nowhere, handle)
                os.close(nowhere)
            setattr(sys, name, open(handle, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding cannot say, a path mostly, ends no run
            stream.reconfigure(errors="backslashreplace")


def forget(handles: Sequence[int]) -> None:
    """What is printed to a terminal or a reader that has gone is lost, and no error."""
    with suppress(OSError):
        sink = os.open(os.devnull, os.O_WRONLY)
        for handle in handles:
            os.dup2(sink, handle)
        os.close(sink)
