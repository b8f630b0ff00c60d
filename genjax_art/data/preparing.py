"""Decoding files to rows on disk: once, by one process at a time, with a bar, from where it was interrupted."""

import fcntl
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from math import prod
from pathlib import Path

from genjax_art.data.contract import DataError
from genjax_art.data.decoders import Decoders, End, Reader
from genjax_art.data.growing import GrowingArray, Part, journal_of
from genjax_art.data.pictures_on_disk import ARRAY, LABELS, META, PictureRows, open_rows

LOCK = ".lock"
BAR_SECONDS = 0.25  # between changes of the bar
FEW_BYTES = 2**22  # of files that are decoded here: that takes as long as to start processes


def open_or_prepare(place: Path, split: str, name: str, prepare: Callable[[Path], None]) -> PictureRows:
    """A split of the pictures in the folder `place`, which `prepare` writes where they are not there.

    Raises:
      DataError: no such split, or what `prepare` raises, or `place` cannot be written.
    """
    found, _ = _opened(place, split, name)
    if found is not None:
        return found
    with _writing(place), _alone(place, name):
        found, broken = _opened(place, split, name)  # another process may have been faster
        if found is None:
            if broken:
                logging.getLogger(__name__).warning("%s is broken (%s): made again", place, broken)
                _remove(place)
            prepare(place)
            journal_of(place / ARRAY).unlink(missing_ok=True)
            found = open_rows(place, split, name)
            assert found is not None
        return found


def write_rows(
    place: Path,
    name: str,
    splits: Mapping[str, Sequence[Path]],
    reader: Reader,
    check: Callable[[str, Part], None],
) -> dict[str, Part]:
    """Writes the rows of all splits; `check` is told after each split what was read, and may raise DataError.

    What was written by then is removed with that: the reason may have been one of the moment.

    Raises:
      DataError: of `check`, or no room. RunError: a process was killed. OSError: the file cannot be written.
    """
    total = sum(map(len, splits.values()))
    array = GrowingArray(place / ARRAY, reader.shape)
    try:
        done = sum(part.done for part in array.parts.values())
        _check_room(place, (total - done) * prod(reader.shape))
        started = f"{done:,} of {total:,} {reader.word} are there" if done else "once"
        print(f"preparing {name} in {place} ({started})", file=sys.stderr, flush=True)
        processes = _cores() if _is_much(path for paths in splits.values() for path in paths) else 0
        with Decoders(reader, processes) as decoders, _bar(name, reader.word, total, done) as advance:
            for split, paths in splits.items():
                part = array.begin(split)
                for result in decoders.read(islice(paths, part.done, None)):
                    if not isinstance(result, End):
                        array.append(result)
                        continue
                    if result.unread is None:
                        array.end()
                    else:
                        array.end(result.unread.message, result.unread.unfit)
                    advance()
                array.commit()
                check(split, part)
        array.finish()
    except DataError:
        _remove(place)
        raise
    finally:
        array.close()
    return array.parts


def _opened(place: Path, split: str, name: str) -> tuple[PictureRows | None, str]:
    """The rows, or none and what is broken of them."""
    try:
        return open_rows(place, split, name), ""
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{type(error).__name__}: {error}"


def _remove(place: Path) -> None:
    """Not emptied: another process may have them mapped."""
    for name in (META, LABELS, ARRAY, journal_of(Path(ARRAY)).name):
        (place / name).unlink(missing_ok=True)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Makes the folder, and what is wrong with the disk one line."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"{place} cannot be written ({error}): make room or name another folder by data_dir "
            "(--data.data-dir, TFDS_DATA_DIR); what is there is gone on with"
        ) from error


def _check_room(place: Path, needed: int) -> None:
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(f"it takes {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free")


@contextmanager
def _alone(place: Path, name: str) -> Iterator[None]:
    """Waits until no other process prepares there; the lock ends with the process that holds it."""
    handle = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is preparing {name} in {place}: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: two would write the same
            pass
        yield
    finally:
        os.close(handle)


def _is_much(paths: Iterator[Path]) -> bool:
    size = 0
    for path in paths:
        with suppress(OSError):  # a link to nowhere
            size += path.stat().st_size
        if size > FEW_BYTES:
            return True
    return False


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _bar(name: str, word: str, total: int, done: int) -> Iterator[Callable[[], object]]:
    """A bar where standard error is a terminal; to be called for each file."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "dumb"):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name, markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]}} {word}/s, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, expand=True) as bar:
        task = bar.add_task("", total=total, completed=done, rate="-")

        seen, shown = done, 0.0

        def advance() -> None:
            nonlocal seen, shown
            seen += 1
            if seen == total or time.monotonic() - shown >= BAR_SECONDS:
                shown, speed = time.monotonic(), bar.tasks[0].speed
                bar.update(task, completed=seen, rate="-" if speed is None else f"{speed:,.0f}")

        yield advance
