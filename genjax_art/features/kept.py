"""Arrays that take long to make, kept in the cache folder under all that they depend on.

A file is `features/<name>-<key>.npz`; the key hashes the words given. What cannot be read is made again.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art.data.cache import cache_folder
from genjax_art.data.content import content_of
from genjax_art.data.contract import Source
from genjax_art.files import replacing

Arrays = dict[str, np.ndarray]


def kept(name: str, words: Sequence[Any], data: Source, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
    """What `make` gives, or gave before for the same words and data of the same content.

    Args:
      name: of the file, for people.
      words: JSON values: all that the arrays depend on besides the data.
      data: known by their content and spec, never by name. Data that cannot be known so are not kept.
    """
    content = content_of(data)
    if not content.checksum:
        return dict(make())
    words = [*words, content.to_json(), asdict(data.spec)]
    key = hashlib.sha256(json.dumps([name, *words]).encode()).hexdigest()[:24]
    path = cache_folder() / "features" / f"{name}-{key}.npz"
    found = _read(path)
    if found is None:
        found = dict(make())
        _write(path, found)
    return found


def _read(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # with checksums of its members
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logging.getLogger(__name__).warning("%s is broken (%s): made again", path, error)
        return None


def _write(path: Path, arrays: Arrays) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the names for other arguments
    except OSError as error:
        logging.getLogger(__name__).warning("%s is not kept: %s", path, error)
