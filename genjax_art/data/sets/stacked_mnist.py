"""Stacked MNIST: three random digits as the channels of one 28x28x3 picture, so 1,000 modes that can be counted.

The data set of mode coverage since Unrolled GAN (Metz et al. 2017, arXiv:1611.02163), here as PacGAN draws it (Lin et
al. 2018, arXiv:1712.04086): 128,000 pictures, each digit uniform among all pictures of MNIST; but of a split of its own
each, "train" from MNIST's training digits and "test" from the others. Only the numbers of the three digits are drawn
and kept, once, from a fixed seed; pictures are stacked when they are taken. A label is the mode, 100 a + 10 b + c.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from genjax_art.data.contract import NoSplit, Source
from genjax_art.data.digits import open_digits
from genjax_art.spec import ArraySpec

NAME = "stacked_mnist"
LENGTHS: Mapping[str, int] = {"train": 128_000, "test": 26_000}
CLASSES = tuple(f"{mode:03d}" for mode in range(1000))


def build(
    *, split: str = "train", data_dir: Path | str | None = None, size: tuple[int, int] | None = None
) -> "StackedSource":
    """Three digits as the channels of one picture, 1,000 modes; of mnist where it is prepared, else of mnist_5k.

    Args:
      split: which pictures: train (128,000) or test (26,000), of other digits.
      data_dir: where mnist may lie prepared (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the digits to (default: 28 28).

    Raises:
      NoSplit: another split. DataError: the digits cannot be had.
    """
    if split not in LENGTHS:
        raise NoSplit(NAME, split, LENGTHS)
    digits, origin = open_digits(NAME, split, data_dir, size)
    rng = np.random.default_rng([zlib.crc32(NAME.encode()), list(LENGTHS).index(split)])
    rows = rng.integers(0, len(digits), (LENGTHS[split], 3), dtype=np.int32)
    spec = ArraySpec((*digits.spec.space, 3), digits.spec.low, digits.spec.high, "image", CLASSES)
    return StackedSource(spec, digits, origin, rows)


@dataclass(frozen=True, eq=False)
class StackedSource:
    """Pictures whose channel k shows the digit `rows[i, k]` of `digits`."""

    spec: ArraySpec
    digits: Source
    origin: str  # the data set of the digits: "mnist", or "mnist_5k" where that is not prepared
    rows: Int[np.ndarray, "n 3"]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        rows = self.rows[indices]
        taken = self.digits.take(rows.reshape(-1))
        x = taken["x"].reshape(*rows.shape, *self.spec.space)
        label = taken["label"].reshape(rows.shape) @ np.array([100, 10, 1], np.int32)
        return {"x": np.moveaxis(x, 1, -1), "label": label}
