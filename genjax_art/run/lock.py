"""One trainer to a run folder: a lock that ends with the process that holds it, however that ends.

The file in the folder is locked by the kernel (`flock`), and no dead process holds such a lock. What stands in it,
process, host and start, tells others who that is, and helps where the file system has no locks.
"""

import fcntl
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from genjax_art.errors import RunError

LOCK = ".lock"
_held: ContextVar[tuple["Lock", ...]] = ContextVar("_held", default=())


class InUseError(RunError):
    """Another process trains in the folder."""


class Lock:
    """A folder that is held by this process."""

    def __init__(self, folder: Path, handle: int):
        self.folder, self._file = folder, os.fstat(handle)

    def check(self) -> None:
        """Raises RunError where the folder is no longer where it was."""
        if not self.holds(self.folder):
            raise RunError(f"{self.folder} was moved or deleted while it was trained in; what was saved is as it was")

    def holds(self, folder: Path) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(folder / LOCK), self._file)
        return False


@contextmanager
def lock_folder(folder: Path) -> Iterator[Lock]:
    """Makes `folder` where it is missing and holds it; leaves no empty folder behind that it has made.

    Within another `lock_folder` of the same folder it is that one.

    Raises:
      InUseError: another process holds it. OSError: it cannot be made, or written.
    """
    if (mine := next((lock for lock in _held.get() if lock.holds(folder)), None)) is not None:
        yield mine
        return
    made = _make(folder)
    handle = -1
    try:
        handle = _acquire(folder)
        lock = Lock(folder, handle)
        token = _held.set((*_held.get(), lock))
        try:
            yield lock
        finally:
            _held.reset(token)
            _release(folder, handle)
    finally:
        if handle != -1:
            os.close(handle)
        for path in made:
            with suppress(OSError):  # it is in use
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes a folder; returns what it has made, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another one may be faster
    return missing


def _acquire(folder: Path) -> int:
    """The open and locked file; another one if the first was removed by its holder in between."""
    path = folder / LOCK
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not folder.parent.is_dir():
                raise
            folder.mkdir(exist_ok=True)  # one that was refused has just removed it
            continue
        except NotADirectoryError:
            raise RunError(f"{folder} holds other files, or is one: name another folder with --run-dir") from None
        try:
            _flock(handle, folder)
            if _is_at(path, handle):
                _write(handle)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _flock(handle: int, folder: Path) -> None:
    holder = _read(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        until = time.monotonic() + 1
        while not (holder := _read(handle)) and time.monotonic() < until:  # it has it, and is about to write who it is
            time.sleep(0.02)
        raise InUseError(_refusal(folder, holder)) from None
    except OSError as error:  # a file system without locks: then what is written counts
        if holder and holder.get("host") != platform.node():
            raise InUseError(f"{_refusal(folder, holder)}; if it has ended, delete {folder / LOCK}") from error
    if _lives(holder):
        raise InUseError(_refusal(folder, holder))


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder['pid']} on {holder.get('host')}" if "pid" in holder else "another process"
    return f"{folder} is in use by {who}; wait for its end, or name another folder with --run-dir"


def _lives(holder: dict[str, Any]) -> bool:
    """Whether the writer of a lock is another process of this machine which goes on, not one with its number."""
    pid, start = holder.get("pid"), holder.get("start")
    if holder.get("host") != platform.node() or type(pid) is not int or pid in (0, os.getpid()):
        return False
    now = start_time(pid)
    return now is not None and isinstance(start, int | float) and abs(now - start) < 2


def start_time(pid: int) -> float | None:
    """When a process of this machine began, in seconds since 1970; None where there is none."""
    try:
        if Path("/proc/self/stat").exists():
            ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
            boot = next(line for line in Path("/proc/stat").read_bytes().splitlines() if line.startswith(b"btime"))
            return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
        words = ["ps", "-o", "lstart=", "-p", str(pid)]
        found = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=True)
        return time.mktime(time.strptime(found.stdout.strip()))
    except (OSError, ValueError, IndexError, StopIteration, subprocess.SubprocessError):
        return None


def _is_at(path: Path, handle: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(handle))
    return False


def _read(handle: int) -> dict[str, Any]:
    """What stands in a lock; nothing where it was just made or cannot be read."""
    try:
        found = json.loads(os.pread(handle, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(handle: int) -> None:
    holder = {"pid": os.getpid(), "host": platform.node(), "start": start_time(os.getpid())}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(holder).encode(), 0)


def _release(folder: Path, handle: int) -> None:
    """Removes the file, while it is locked, if it is where it was made; else the next one finds it without a holder."""
    if _is_at(folder / LOCK, handle):
        with suppress(OSError):
            (folder / LOCK).unlink()
    with suppress(OSError):
        os.ftruncate(handle, 0)
