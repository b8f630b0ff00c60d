"""A data set by name, as a `Source`: shipped, the user's own files, or any image set of TFDS."""

import os

from genjax_art.data.arrays import ArraySource, DataError, Source, array_source, synthetic_source
from genjax_art.data.cache import load_decoded, save_decoded
from genjax_art.data.mixtures import MIXTURES, open_mixture
from genjax_art.data.request import make_request
from genjax_art.data.stacked_mnist import NAME as STACKED_MNIST
from genjax_art.data.stacked_mnist import open_stacked_mnist

__all__ = ["ArraySource", "DataError", "Source", "array_source", "open_source", "synthetic_source"]

# Bytes up to which a set is decoded once and kept. It is memory-mapped when opened again, so that this is
# rather a bound on the first decoding and on the disk: 2 GiB hold celeb_a (202,599 pictures) at 56x56 RGB.
IN_MEMORY_LIMIT = 2 << 30


def open_source(
    name: str,
    *,
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Source:
    """Opens the data set `name`, prepared and decoded where that was not done before.

    `name` is that of a file in this room (`mnist_5k`, `procedural_art`, `image_folder`, ...), of a generated
    mixture (`ring8`, `grid25`, `mixture1200`) or `stacked_mnist`, or of an image set of TensorFlow Datasets (`mnist`,
    `cifar10`, ...: read where it is prepared as array_record or parquet; preparing it takes TensorFlow). `split` is
    "train", "test", "all" or a slice such as "train[:10%]".
    Prepared sets lie in `data_dir`, else in $TFDS_DATA_DIR, else in ~/tensorflow_datasets. `folder` holds the
    user's own files, for the sets that read some. Pictures are scaled and cropped to `size` = (height, width)
    in pixels and `channels` (1, 3 or 4); None keeps those of the set.
    Raises DataError (one line) where that cannot be had.
    """
    request = make_request(name, split, data_dir, folder, size, channels)
    if name in MIXTURES:
        return open_mixture(request)
    if name == STACKED_MNIST:
        return open_stacked_mnist(request, open_source)
    if cached := load_decoded(request):
        return cached
    # not at the top: an import of 0.7 s that a warm start does without
    from genjax_art.data.records import open_records

    records = open_records(request)
    if records.nbytes > IN_MEMORY_LIMIT:
        return records
    decoded = records.decode()
    save_decoded(request, decoded, records.prepared)
    return decoded
