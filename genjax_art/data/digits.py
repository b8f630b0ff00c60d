"""The handwritten digits that other sets are made of."""

import sys
from pathlib import Path

from genjax_art.data.contract import Source
from genjax_art.data.open import open_source
from genjax_art.data.request import sets_folder


def open_digits(name: str, split: str, data_dir: Path | str | None, size: tuple[int, int] | None) -> tuple[Source, str]:
    """Grey digits for the set `name`, and which set they are of: mnist where it is prepared, else mnist_5k, which is
    said.

    Raises:
      DataError: they cannot be had.
    """
    folder = sets_folder(data_dir)
    origin = "mnist" if any((folder / "mnist").glob("*/dataset_info.json")) else "mnist_5k"
    if origin != "mnist":
        print(f"{name}: of {origin}, for mnist is not prepared under {folder}", file=sys.stderr, flush=True)
    return open_source(origin, split=split, data_dir=folder, size=size, channels=1), origin
