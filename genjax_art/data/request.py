"""What is asked of the data room, resolved: the key under which an answer may be cached."""

import os
from dataclasses import dataclass
from pathlib import Path

from genjax_art.data.arrays import DataError


@dataclass(frozen=True)
class Request:
    """What was asked of `open_source`, with absolute paths."""

    name: str
    split: str
    data_dir: Path
    folder: Path | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None


def make_request(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    folder: str | os.PathLike[str] | None,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Request:
    """Checks and resolves the arguments of `open_source`. Raises DataError on impossible ones."""
    if channels not in (None, 1, 3, 4):
        raise DataError(f"channels must be 1 (grey), 3 (RGB), 4 (RGBA) or None (the set's own), not {channels}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise DataError(f"size must be (height, width) in pixels, both at least 1, not {size}")
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Request(
        name=name,
        split=split,
        data_dir=Path(data_dir).expanduser().absolute(),
        folder=Path(folder).expanduser().absolute() if folder is not None else None,
        size=(int(size[0]), int(size[1])) if size is not None else None,
        channels=channels,
    )
