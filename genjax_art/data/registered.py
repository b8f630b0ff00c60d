"""Any image set of TensorFlow Datasets (mnist, cifar10, ...), by its name there: `mnist:3.0.1` and `set/config` too."""

import functools
from pathlib import Path
from typing import Literal

from genjax_art.data.contract import Source
from genjax_art.data.prepared import open_prepared
from genjax_art.parts import Part


def build(
    name: str,
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """A public set: read where it is prepared as array_record or parquet; preparing it takes TensorFlow.

    Args:
      name: that in TensorFlow Datasets.
      split: which pictures: a split of the set such as train or test, all, or a slice such as train[:10%].
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: those of the set).
      channels: 1 grey, 3 RGB, 4 RGBA (default: those of the set).

    Raises:
      DataError: there is no such set, or it cannot be had.
    """
    return open_prepared(name, split=split, data_dir=data_dir, size=size, channels=channels)


def builder(name: str) -> Part:
    """`build` of one name: a part with the same options."""
    return functools.update_wrapper(functools.partial(build, name), build)
