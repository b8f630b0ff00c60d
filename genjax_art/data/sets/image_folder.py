"""The user's own pictures: `folder/<label>/*.png`, or a flat folder of pictures without labels.

Every format that Pillow decodes (PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF, PPM, TGA, ...; of films the first frame), of
any size and mode: greyscale, RGB, RGBA, palette, 16 bit, CMYK, turned by EXIF, of other colour profiles than sRGB.
Each is scaled and cropped around its centre to the asked size (64x64 if none is asked) and channels (3); see
`pictures.py`. Labels are the names of the folders, sorted. Passed over are hidden files, what systems leave (bins,
thumbnails), and what we make in such a folder: runs, evaluations, prepared sets. Files of other endings are counted,
pictures beside this layout named, in a warning.

Where its folders are `train` and any of `test`, `validation`, `val` and `valid`, in capitals or not, these are the
splits, each laid out as above; pictures of "train" that are, byte by byte, in another split too are left out. Else all
pictures are in the split "train": nothing is held out that the user did not hold out.

The pictures are decoded once, on all cores, to a file in `data_dir` that is memory-mapped when opened and may be larger
than memory. It is kept under the folder's content (names, sizes, times) and the asked size: unchanged pictures are not
read again, and where it was interrupted, preparing goes on. A picture that cannot be read is named and skipped; more
than 1 % stop it. One of more than 67 million pixels (a JPEG that may be decoded smaller: 134 million) is named and
skipped, too, and does not count among those.
"""

from pathlib import Path
from typing import Literal

from genjax_art.data.contract import DataError, Source
from genjax_art.data.decoders import Pictures
from genjax_art.data.folders import existing_folder, left_out, visible_files
from genjax_art.data.layout import Layout, layout_of
from genjax_art.data.own_folder import OwnFolder
from genjax_art.data.preparing import open_or_prepare
from genjax_art.data.request import make_request
from genjax_art.pictures import endings
from genjax_art.spec import ArraySpec

NAME = "image_folder"
DEFAULT_SIZE = (64, 64)


def build(
    *,
    split: str = "train",
    folder: Path | str | None = None,
    data_dir: Path | str | None = None,
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3, 4] | None = None,
) -> Source:
    """Your own pictures: `folder/<label>/*.png` (jpg, tif, webp, ...), or a flat folder without labels.

    Args:
      split: which pictures: train, the others that the folder has (test, validation, val), all, or a slice such as
        train[:10%].
      folder: the one with your pictures; needed.
      data_dir: where prepared sets lie (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      size: height and width in pixels to scale and crop the pictures to (default: 64 64).
      channels: 1 grey, 3 RGB, 4 RGBA (default: 3).

    Raises:
      DataError: no folder, one without a layout, one with too many unreadable pictures, or no such split.
    """
    request = make_request(NAME, split, data_dir, size or DEFAULT_SIZE, channels or 3)
    reader = Pictures(request.size or DEFAULT_SIZE, channels or 3)
    found = existing_folder(folder, NAME)
    own = OwnFolder(NAME, found, reader, ArraySpec(reader.shape), lambda: read_layout(found))
    return open_or_prepare(request.data_dir / NAME / own.variant, split, NAME, own.prepare)


def read_layout(folder: Path) -> Layout:
    """How the pictures in `folder` are laid out (see above). Raises DataError where there are none."""
    files = visible_files(folder)
    readable = set(endings())
    pictures = [path for path in files if path.suffix.lower() in readable]
    others = [path for path in files if path.suffix.lower() not in readable]
    if not pictures:
        beside = f"; it holds {left_out(others)}" if others else ""
        raise DataError(f"folder {folder} holds no pictures (png, jpg, tif, webp, ...){beside}")
    return layout_of(folder, pictures, others, "pictures")
