"""Files that are replaced in one step, and folders of the user's."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genjax_art.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` on success and is removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
