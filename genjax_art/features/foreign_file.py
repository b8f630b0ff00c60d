"""Reading a file that strangers wrote: within bounds, or refused in one line."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.errors import RunError
from genjax_art.files import printable

MOST = 2**30  # bytes of a file, and any number in it that counts
BROKEN = (ValueError, ArithmeticError, LookupError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile)


class Refused(ValueError):
    """What the file lacks, or asks for, in words that go on after its name."""


def read_foreign(path: Path, parse: Callable[[bytes], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `parse` makes of all bytes of the file.

    Raises:
      RunError: no such file, one that is too large, or refused or not understood by `parse`.
    """
    try:
        if (size := path.stat().st_size) > MOST:
            raise Refused(f"has {size} bytes, more than {MOST}")
        return parse(path.read_bytes())
    except Refused as error:
        raise RunError(f"{printable(path)} {error}") from None
    except OSError as error:
        raise RunError(f"{printable(path)} cannot be read: {error.strerror or word(error)}") from None
    except BROKEN as error:
        raise RunError(f"{printable(path)} is damaged: {type(error).__name__}, {word(error)}") from None


def word(found: object) -> str:
    """What came from a file, fit for one line."""
    return str(found)[:80].encode("unicode_escape").decode()


def are_counts(values: Any) -> bool:
    """Whether all are whole numbers from 0 to `MOST`."""
    return isinstance(values, list | tuple) and all(type(n) is int and 0 <= n <= MOST for n in values)
