"""Sets that TensorFlow Datasets keeps on disk, ours and public ones, as sources: decoded once, then from the cache."""

import os

from genjax_art.data.cache import load_decoded, save_decoded
from genjax_art.data.contract import Source
from genjax_art.data.recipe import Recipe
from genjax_art.data.request import make_request

# Bytes up to which a set is decoded once and kept. It is memory-mapped when opened again, so that this is
# rather a bound on the first decoding and on the disk: 2 GiB hold celeb_a (202,599 pictures) at 56x56 RGB.
IN_MEMORY_LIMIT = 2 << 30


def open_prepared(
    what: Recipe | str,
    *,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Source:
    """The set of a recipe, or the public one of that name; prepared and decoded where that was not done before.

    Prepared sets lie in `data_dir`, else in $TFDS_DATA_DIR, else in ~/tensorflow_datasets. Pictures are scaled and
    cropped to `size` = (height, width) in pixels and `channels`; None keeps those of the set.

    Raises:
      DataError: it cannot be had.
    """
    recipe = what if isinstance(what, Recipe) else None
    request = make_request(what.name if isinstance(what, Recipe) else what, split, data_dir, size, channels)
    if cached := load_decoded(request, recipe):
        return cached
    # not at the top: an import of 0.7 s that a warm start does without
    from genjax_art.data.tfds import open_records

    records = open_records(request, recipe)
    if records.nbytes > IN_MEMORY_LIMIT:
        return records
    decoded = records.decode()
    save_decoded(request, recipe, decoded, records.prepared)
    return decoded
