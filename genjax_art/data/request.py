"""What is asked of the data room, resolved: part of the key under which an answer may be cached."""

import os
from dataclasses import dataclass
from pathlib import Path

from genjax_art.data.contract import DataError
from genjax_art.files import expanded, home


@dataclass(frozen=True)
class Request:
    """Which examples of a prepared set are asked for, with an absolute path, and in what form."""

    name: str
    split: str
    data_dir: Path
    size: tuple[int, int] | None = None
    channels: int | None = None


def make_request(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Request:
    """Checks and resolves what was asked for. Raises DataError on an impossible size."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise DataError(f"size must be (height, width) in pixels, both at least 1, not {size}")
    whole = (int(size[0]), int(size[1])) if size is not None else None
    return Request(name, split, sets_folder(data_dir), whole, channels)


def sets_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """Where prepared sets lie: in `data_dir`, else in $TFDS_DATA_DIR, else in ~/tensorflow_datasets."""
    named = data_dir or os.environ.get("TFDS_DATA_DIR")
    return expanded(named) if named else home() / "tensorflow_datasets"
