"""Files that are replaced in one step, links that are not followed, folders of the user, names as text."""

import os
import re
import secrets
import shlex
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from genjax_art.errors import RunError, UsageError

_KEPT: ContextVar[tuple[Path, ...]] = ContextVar("kept", default=())
LEFTOVER = re.compile(r"\..*\.part")  # what `replacing` and others leave when they are killed
_PLAIN = re.compile(r"/[\w./+-]{0,1000}", re.ASCII)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to; it takes the place of `path` on success and is removed on failure.

    Its name is drawn and the file created with it, so that no link can lead elsewhere; a link at `path` is replaced.

    Raises:
      UsageError: `path` is among what is kept (see `keeping`). OSError: it cannot be written; it names `path`.
    """
    _refuse_kept(path)
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _new_file(path.parent)
        yield part
        part.replace(path)
    except OSError as error:
        named = None if error.filename is None else Path(os.fsdecode(error.filename)).name
        if error.errno is None or not (named is None or LEFTOVER.fullmatch(named)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # gone with its folder, or with the rights to write there
            if part is not None:
                part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Tries whether files can be made in a folder, or in that above it where it is yet to be made, before long work
    whose results are to lie there. Raises OSError where not."""
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    try:
        _new_file(there).unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


@contextmanager
def keeping(paths: Iterable[Path]) -> Iterator[None]:
    """Within, `replacing` refuses these files, which are read: a name without its ending is soon the user's own."""
    token = _KEPT.set((*_KEPT.get(), *paths))
    try:
        yield
    finally:
        _KEPT.reset(token)


def _refuse_kept(path: Path) -> None:
    for kept in _KEPT.get():
        with suppress(OSError):  # one of them is not there
            if path.samefile(kept):
                raise UsageError(f"{path} is read here and would be replaced: name another file with --out")


def part_name(folder: Path) -> Path:
    """A name in `folder` that nobody has, short whatever the final name, and known as a leftover where it stays."""
    return folder / f".{secrets.token_hex(6)}.part"


def _new_file(folder: Path) -> Path:
    while True:
        part = part_name(folder)
        with suppress(FileExistsError):
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return part


def refuse_link(path: Path) -> None:
    """Raises RunError where `path` is a symbolic link, which could lead out of the run's folder."""
    if path.is_symlink():
        raise RunError(f"{path} is a symbolic link, which is not followed: put a folder in its place")


@contextmanager
def plain_alias(folder: Path) -> Iterator[Path]:
    """Another path of `folder`, made of letters and digits, for libraries that take some characters for patterns.

    Raises:
      RunError: no link can be made.
    """
    folder = folder.absolute()
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    rooms = [room for room in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm") if _PLAIN.fullmatch(room)]
    try:
        place = tempfile.mkdtemp(prefix="genjax_art_", dir=next(room for room in rooms if os.access(room, os.W_OK)))
    except (StopIteration, OSError):
        raise RunError(f"{folder} has characters that need a link, and no temporary folder can hold it") from None
    link = Path(place) / "folder"
    try:
        link.symlink_to(folder)
        yield link
    finally:
        link.unlink(missing_ok=True)
        link.parent.rmdir()


def quoted(path: Path | str) -> str:
    """`path` as a word of a shell's command line: one line, and characters that are none are escaped."""
    words = str(path)
    if words.isprintable():
        return shlex.quote(words)
    escaped = words.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c.isprintable() else _octets(c) for c in escaped) + "'"


def _octets(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def printable(name: object) -> str:
    """A name for messages and metadata; what is no UTF-8 in it is spelt out: caf\\xe9.mid, from an old archive."""
    text = str(name)
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode(errors="backslashreplace").decode()


def expanded(path: str | os.PathLike[str]) -> Path:
    """An absolute path, with a `~` at its beginning spelt out.

    Raises:
      UsageError: it begins with the home folder of somebody who has none here.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"no home folder is known here for {os.fspath(path)}: name the whole path") from None


def home() -> Path:
    """The user's home folder; where there is none (containers, batch systems) a folder of the user's own below /tmp."""
    try:
        return Path.home()
    except RuntimeError:
        pass
    folder = Path(tempfile.gettempdir()) / f"genjax_art-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="genjax_art-"))  # else somebody else's files would be read


def cache_home() -> Path:
    """$XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return expanded(base) if base else home() / ".cache"


def some_names(names: Sequence[str], most: int = 20) -> str:
    """Names for a message: the first ones, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
