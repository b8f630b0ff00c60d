"""What a checkpoint consists of: the digest of each of its files, and of which experiment it is.

The manifest is written last, so that a checkpoint without one is not whole. Those of older versions
have none; they have a file that this version doesn't write.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from genjax_art.errors import RunError

MANIFEST = "manifest.json"
OF_OLDER_VERSIONS = "_CHECKPOINT_METADATA"
VERSION = 1
CHUNK = 2**20


class DamagedError(RunError):
    """A checkpoint that is not what was written. The message is one line."""


def write_manifest(folder: Path, step: int, experiment: Mapping[str, Any] | None) -> None:
    """Describes the files in `folder`, a checkpoint that nobody knows yet, and brings them to the disk."""
    files = {str(PurePosixPath(p.relative_to(folder))): _entry(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    body = {"version": VERSION, "step": step, "experiment": experiment, "files": files}
    body = json.loads(json.dumps(body))  # as it will be read: tuples are lists then
    with (folder / MANIFEST).open("x", encoding="utf-8") as file:
        json.dump({"digest": _digest(body), "manifest": body}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def check_manifest(folder: Path, step: int) -> Mapping[str, Any] | None:
    """The experiment of the checkpoint in `folder`, if it tells it, once every file is found to be as it was written.

    Raises:
      DamagedError: a file is missing or another one than was written.
    """
    damaged = f"checkpoint {folder} cannot be read, it is damaged"
    if not (folder / MANIFEST).is_file():
        if (folder / OF_OLDER_VERSIONS).is_file():
            return None
        raise DamagedError(f"{damaged}: {MANIFEST} is missing")
    body = _read(folder / MANIFEST, damaged)
    if body["step"] != step:
        raise DamagedError(f"{damaged}: it is of step {body['step']}")
    for name, (size, digest) in body["files"].items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{damaged}: {name} is missing")
        if path.stat().st_size != size:
            raise DamagedError(f"{damaged}: {name} has {path.stat().st_size} bytes, not {size}")
        if _entry(path, sync=False)[1] != digest:
            raise DamagedError(f"{damaged}: the content of {name} has changed")
    return body["experiment"]


def is_intact(folder: Path, step: int) -> bool:
    """Whether the files of a checkpoint are as they were written, as far as it tells."""
    try:
        check_manifest(folder, step)
    except (RunError, OSError):
        return False
    return True


def has_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _read(path: Path, damaged: str) -> dict[str, Any]:
    """What `write_manifest` has written."""
    try:
        outer = json.loads(path.read_bytes())
        body = outer["manifest"]
        if outer["digest"] != _digest(body):
            raise ValueError
        version = body["version"]
        if type(version) is not int or (version == VERSION and not _is_body(body)):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DamagedError(f"{damaged}: the content of {path.name} has changed") from None
    if version > VERSION:
        raise RunError(f"{path} is of version {version}, known up to {VERSION}: install a newer genjax_art")
    return body


def _is_body(body: Any) -> bool:
    """Whether it is what `write_manifest` describes: anybody can give digests to something else."""
    files, experiment = body["files"], body["experiment"]
    inside = all(not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in files)
    entries = all(isinstance(entry, list) and [*map(type, entry)] == [int, str] for entry in files.values())
    return inside and entries and type(body["step"]) is int and (experiment is None or isinstance(experiment, dict))


def _entry(path: Path, sync: bool = True) -> list[Any]:
    """Size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return [size, digest.hexdigest()]


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def steps_in(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, by their names; none where it cannot be read."""
    try:
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
    except OSError:
        return []
