"""What lies in a folder, and a fingerprint of it."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from genjax_art.data.contract import DataError
from genjax_art.files import expanded, printable

LISTED = 10  # endings in a message
# what is in a run, in an evaluation, and in prepared sets, ours (finished or not) and those of TensorFlow Datasets
OURS = (
    ("config.json", "checkpoints"),
    ("results.json", "page.html"),
    ("x.npy", ".lock"),
    ("dataset_info.json", "features.json"),
)
# folders that systems and programs make beside one's own, in lower case: bins, thumbnails, resource forks
LEFTOVERS = frozenset(("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information"))


def visible_files(folder: Path) -> list[Path]:
    """The files below `folder`: see `visible_names`."""
    return [Path(name) for name in visible_names(folder)]


def visible_names(folder: Path) -> list[str]:
    """All files below `folder` as text (of 100,000 files that takes a third of the time and of the memory), sorted, but
    for what nobody means: hidden ones, what systems leave behind (`LEFTOVERS`), what we made within it (`OURS`). Links
    are followed once, not to what is there anyway.

    Raises:
      DataError: a folder in it that cannot be read.
    """
    found: list[str] = []
    top, seen = os.path.realpath(folder), dict[str, str]()
    for root, directories, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(root)
        inside = real != top and os.path.islink(root) and os.path.commonpath((real, top)) == top
        if real in seen or inside or (real != top and is_ours(root)):
            directories.clear()
            if inside or real in seen:
                to = seen.get(real, real)
                logging.getLogger(__name__).warning("left out the link %s to %s", printable(root), printable(to))
            continue
        seen[real] = root
        directories[:] = sorted(d for d in directories if not d.startswith(".") and d.lower() not in LEFTOVERS)
        found += [os.path.join(root, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda name: name.split(os.sep))  # the order of paths


def is_ours(folder: str) -> bool:
    """Whether it is a run, an evaluation or a prepared set: its files are no examples."""
    return any(all(os.path.exists(os.path.join(folder, name)) for name in names) for names in OURS)


def _unreadable(error: OSError) -> None:
    name = printable(str(error.filename))
    raise DataError(f"folder {name} cannot be read ({error.strerror}): allow it, or move it away")


def fingerprint(folder: Path, paths: Iterable[Path | str]) -> str:
    """A hash of relative names, sizes in bytes and modification times in ns: it changes when the files do.

    Contents are not read: a folder of photographs would take minutes.
    """
    digest = hashlib.sha256()
    start = len(os.path.join(folder, ""))
    for path in paths:
        name = os.fspath(path)
        try:
            status = os.stat(name)
            known = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # a link to nowhere
            known = "missing"
        digest.update(f"{name[start:]}\0{known}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def left_out(paths: Iterable[Path]) -> str:
    """How many files of which endings, the most frequent ones first: "20 .tif, 2 .txt, 1 without an ending"."""
    counts = Counter(path.suffix.lower() or "without an ending" for path in paths)
    found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = sum(count for _, count in found[LISTED:])
    words = [f"{count} {printable(ending)}" for ending, count in found[:LISTED]]
    return ", ".join(words + ([f"{more} of other endings"] if more else []))


def existing_folder(folder: str | os.PathLike[str] | None, name: str) -> Path:
    """The user's folder for the data set `name`, as an absolute path. Raises DataError where there is none."""
    if folder is None:
        raise DataError(f"{name} needs the folder of your files: pass folder (--data.folder DIR)")
    path = expanded(folder)
    if not path.is_dir():
        raise DataError(f"folder {path} is no folder or does not exist: pass that of your files (--data.folder DIR)")
    return path
