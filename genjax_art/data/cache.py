"""Decoded sets on disk, so that opening one again needs neither TensorFlow Datasets nor a picture decoder.

One set is `<name>-<key>.<array>.npy` for each array and `<name>-<key>.json`, written last. The key hashes the
request, the variant of the set and the code that makes the arrays; the JSON holds the fingerprint of the prepared
set that they came from and their checksums. Whatever does not match is made again, never trusted.
"""

import dataclasses
import hashlib
import inspect
import json
import logging
import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from genjax_art.data.contract import ArraySource
from genjax_art.data.folders import fingerprint, visible_files
from genjax_art.data.recipe import Recipe
from genjax_art.data.request import Request
from genjax_art.files import cache_home, expanded, replacing
from genjax_art.spec import ArraySpec

ROOM = Path(__file__).parent
FORMAT = 2  # of the files described above


def cache_folder() -> Path:
    """$GENJAX_ART_CACHE, else $XDG_CACHE_HOME/genjax_art, else ~/.cache/genjax_art."""
    if own := os.environ.get("GENJAX_ART_CACHE"):
        return expanded(own)
    return cache_home() / "genjax_art"


def load_decoded(request: Request, recipe: Recipe | None) -> ArraySource | None:
    """The memory-mapped arrays that answer `request`, or None where there are none to be trusted."""
    stem = _stem(request, recipe)
    try:
        meta = json.loads(_path(stem, "json").read_text())
        prepared = Path(meta["prepared"])
        if fingerprint(prepared, visible_files(prepared)) != meta["fingerprint"]:
            return None
        arrays = {name: _read(_path(stem, f"{name}.npy"), check) for name, check in meta["checksums"].items()}
        spec = meta["spec"]
        return ArraySource(
            ArraySpec(**{**spec, "shape": tuple(spec["shape"]), "classes": tuple(spec["classes"])}), arrays
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        logging.getLogger(__name__).warning("the cache of %s is broken (%s): made again", request.name, error)
        return None


def save_decoded(request: Request, recipe: Recipe | None, source: ArraySource, prepared: Path) -> None:
    """Writes the arrays, each file atomically. A disk that refuses is reported and does not stop the run."""
    stem = _stem(request, recipe)
    meta = {
        "prepared": str(prepared),
        "fingerprint": fingerprint(prepared, visible_files(prepared)),
        "checksums": {name: _checksum(array) for name, array in source.arrays.items()},
        "spec": dataclasses.asdict(source.spec),
    }
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for name, array in source.arrays.items():
            _write(_path(stem, f"{name}.npy"), partial(_save, array=array))
        _write(_path(stem, "json"), lambda file: file.write(json.dumps(meta).encode()))
    except OSError as error:
        logging.getLogger(__name__).warning("%s is not cached in %s: %s", request.name, stem.parent, error)


def _stem(request: Request, recipe: Recipe | None) -> Path:
    asked = [FORMAT, request.name, request.split, str(request.data_dir), request.size, request.channels]
    code = [ROOM / "tfds.py", ROOM.parent / "pictures.py"]
    if recipe is not None:
        asked.append(recipe.variant)
        code.append(Path(inspect.getfile(type(recipe))))
    digest = hashlib.sha256(json.dumps(asked).encode())
    for path in code:
        digest.update(path.read_bytes())
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in request.name)
    return cache_folder() / "decoded" / f"{name}-{digest.hexdigest()[:24]}"


def _path(stem: Path, ending: str) -> Path:
    return stem.parent / f"{stem.name}.{ending}"


def _read(path: Path, checksum: int) -> np.ndarray:
    array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if _checksum(array) != checksum:
        raise ValueError(f"{path.name} has another checksum than when it was written")
    return array


def _save(file: IO[bytes], array: np.ndarray) -> None:
    np.save(file, array, allow_pickle=False)


def _checksum(array: np.ndarray) -> int:
    head = zlib.crc32(f"{array.dtype.str}{array.shape}".encode())
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, head)


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with replacing(path) as part, part.open("wb") as file:
        write(file)
