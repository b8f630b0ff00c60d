"""Picture files of every format that Pillow decodes, to one size and one number of channels.

Memory is bounded: a picture is decoded whole, at most `MAX_PIXELS` of it (4 bytes each, 256 MiB), and everything else
is done in strips. Formats whose decoders take several times that (AVIF, JPEG 2000, WebP) may have half as many pixels;
JPEG is decoded at a half, a quarter or an eighth where that is enough, and may have twice as many. What is decoded may
be larger than the picture: pictures within icons and textures, tiles of TIFF; their sizes are read, too.
"""

import io
import re
import struct
import warnings
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, features

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_PIXELS = 2**26  # 67 million, as decoded
MAX_JPEG_PIXELS = 2**27  # in the file, where it is decoded smaller and row by row
STRIP = 2**20  # pixels that are converted at once; smaller pictures are resized without being reduced first
# what Pillow names but does not decode everywhere (it needs other programs), and what is no picture
OTHERS = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
CODECS = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # that Pillow may have been built without
# grey levels of few bits are read as 0 ... 255, but the transparent one is not: rawmode to what a level is worth
LOW_DEPTHS = {"1": 255, "L;2": 85, "L;4": 17}
# width and height of the pictures within icons and textures, which Pillow decodes whatever size those claim, of icons
# when it opens them: the first bytes of such a file to patterns and how the two numbers are written
_PNG = (re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(.{8})", re.DOTALL), ">II")
_JPEG_2000 = (re.compile(rb"\xff\x4f\xff\x51.{4}(.{8})", re.DOTALL), ">II")
_JPEG = (re.compile(rb"\xff[\xc0-\xc3]\x00.\x08(.{4})", re.DOTALL), ">HH")
WITHIN = {b"\0\0\1\0": (_PNG,), b"icns": (_PNG, _JPEG_2000), b"BLP1": (_JPEG,)}
SAME = 2  # levels: a profile that changes no colour by more is that of sRGB
TURNS = {  # EXIF orientation to what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooLarge(ValueError):
    """A picture of more pixels than are read."""


@cache
def endings() -> tuple[str, ...]:
    """The endings of the picture files that can be read, sorted: those of every format that Pillow decodes here."""
    Image.init()
    missing = {name for name, codec in CODECS.items() if not features.check(codec)}
    readable = set(Image.OPEN) - OTHERS - missing
    return tuple(sorted(ending for ending, kind in Image.registered_extensions().items() if kind in readable))


def read_picture(file: Path, size: tuple[int, int], channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """A picture file, turned upright, its colours as sRGB, scaled and cropped by `fit_picture`.

    Raises:
      TooLarge: more than `MAX_PIXELS` pixels, of a JPEG that is decoded smaller `MAX_JPEG_PIXELS`.
      OSError, ValueError, SyntaxError, ...: whatever Pillow raises on a file that is none, or broken.
    """
    # that it is large or has odd metadata is no news to its owner
    with warnings.catch_warnings(action="ignore"), open_picture(file) as picture:
        _check_pixels(picture, size)
        try:
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                picture.load()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # of a picture within
            raise TooLarge(_too_large("far more")) from None
        orientation = picture.getexif().get(0x0112)  # not before: Pillow turns a TIFF when it loads it
        smaller = _reduced(as_meant(picture), max(size), channels)
        return fit_picture(smaller.transpose(TURNS[orientation]) if orientation in TURNS else smaller, size, channels)


def open_picture(file: Path) -> Image.Image:
    """A picture file of which the header is read, and what lies within icons and textures checked.

    Raises:
      TooLarge: that has more than half of `MAX_PIXELS`, or the picture far more. Else what Pillow raises.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise OSError("it is no regular file")
    _check_within(_pixels_within(file))
    try:
        picture = Image.open(file)
    except Image.DecompressionBombError:
        raise TooLarge(_too_large("far more")) from None
    _mend_transparency(picture)
    return picture


def upright(picture: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF orientation says."""
    orientation = picture.getexif().get(0x0112)
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _check_pixels(picture: Image.Image, size: tuple[int, int]) -> None:
    """Refuses a picture by its header; of a JPEG, after it was told how large it has to be."""
    whole = picture.width * picture.height
    most = MAX_PIXELS // 2 if picture.format in CODECS else MAX_PIXELS
    if picture.format in ("JPEG", "MPO"):  # progressive ones are held whole in libjpeg
        if whole > (MAX_PIXELS if "progressive" in picture.info else MAX_JPEG_PIXELS):
            raise TooLarge(_too_large(f"{whole / 1e6:.0f} million", MAX_PIXELS))
        # some 4x faster: decodes at a half, quarter or eighth if that is twice what is needed
        picture.draft(None, (2 * max(size), 2 * max(size)))
    if picture.width * picture.height > most:
        raise TooLarge(_too_large(f"{whole / 1e6:.0f} million", most))
    if picture.format == "TIFF":
        tags: Any = getattr(picture, "tag_v2", {})
        sides = [tags.get(tag, 0) for tag in (0x0142, 0x0143)]  # TileWidth, TileLength
        _check_within(sides[0] * sides[1] if all(isinstance(side, int) for side in sides) else 0)


def _check_within(pixels: int) -> None:
    if pixels > MAX_PIXELS // 2:
        raise TooLarge(_too_large(f"within it {pixels / 1e6:.0f} million", MAX_PIXELS // 2))


def _pixels_within(file: Path) -> int:
    """The pixels of the largest picture within an icon or a texture; 0 without such."""
    with file.open("rb") as opened:
        start = opened.read(4)
        content = start + opened.read() if start in WITHIN else b""
    patterns = WITHIN.get(start, ())
    sizes = [struct.unpack(how, found) for pattern, how in patterns for found in pattern.findall(content)]
    return max((width * height for width, height in sizes), default=0)


def _too_large(pixels: str, most: int = MAX_PIXELS) -> str:
    return f"it has {pixels} pixels, and at most {most / 1e6:.0f} million are read: make it smaller"


def _mend_transparency(picture: Image.Image) -> None:
    """The transparent level or colour in the levels that the pixels will have."""
    level, tile = picture.info.get("transparency"), getattr(picture, "tile", None)
    rawmode = tile[0][3] if tile else None
    rawmode = rawmode[0] if isinstance(rawmode, tuple) and rawmode else rawmode
    if picture.format == "PNG" and isinstance(level, int) and rawmode in LOW_DEPTHS:
        picture.info["transparency"] = min(255, level * LOW_DEPTHS[str(rawmode)])
    elif picture.format == "PNG" and isinstance(level, tuple) and rawmode == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in level)


def as_meant(picture: Image.Image) -> Image.Image:
    """A loaded picture whose grey levels of more than 8 bits go from black at 0 to white at 65535, where its tags say
    what they mean; else the picture itself.

    Raises:
      ValueError: levels of a kind that Pillow does not read.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    bits, signed = (tag[0] if isinstance(tag := tags.get(number), tuple) else 0 for number in (0x0102, 0x0153))
    if bits == 8 and signed == 2:
        raise ValueError("its levels are signed bytes, which are not read: save it with levels from 0 to 255")
    swapped = picture.mode in ("I;16B", "I;16N")
    white_is_0 = tags.get(0x0106) == 0 and picture.mode.startswith("I")
    wide = picture.mode == "I" and bits == 32
    if not (swapped or white_is_0 or wide or (bits == 12 and picture.mode.startswith("I"))):
        return picture
    levels = np.asarray(picture)
    if wide and signed != 2:  # Pillow takes the highest bit for a sign
        levels = levels.view(np.uint32) >> 16
    elif wide and levels.max(initial=0) <= 255:
        levels = levels.clip(0) * 257
    elif bits == 12:
        levels = (levels << 4) | (levels >> 8)
    grey = Image.fromarray((65535 - levels if white_is_0 else levels).astype("<u2"))
    grey.info = dict(picture.info)
    return grey


def _reduced(picture: Image.Image, side: int, channels: int) -> Image.Image:
    """`picture` in the mode of so many channels, reduced by a whole number while it stays twice as large as `side`.

    Strip by strip: conversions take several times the memory of the picture.
    """
    top = _top(picture)
    factor = min(picture.width, picture.height) // (2 * side)
    if picture.width * picture.height <= STRIP or factor < 2:
        return to_mode(picture, channels, top)
    width, height = -(-picture.width // factor), -(-picture.height // factor)
    small = Image.new(MODES[channels], (width, height))
    rows = max(1, STRIP // (picture.width * factor))
    for row in range(0, height, rows):
        box = (0, row * factor, picture.width, min((row + rows) * factor, picture.height))
        small.paste(to_mode(picture.crop(box), channels, top).reduce(factor), (0, row))
    return small


def decode_picture(encoded: bytes, size: tuple[int, int], channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """A PNG, JPEG, ... of a prepared set as an array: see `fit_picture`."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return fit_picture(picture, size, channels)


def fit_picture(
    picture: Image.Image, size: tuple[int, int], channels: int
) -> UInt8[np.ndarray, "height width channels"]:
    """`picture`, of any mode, scaled and cropped to `size` = (height, width), with `channels` channels.

    Scaled such that it just covers `size` (antialiased, Lanczos), then cropped around the centre.
    Transparency that is dropped is laid on white. Grey is the Rec. 601 luma.
    """
    picture = to_mode(picture, channels)
    height, width = size
    if (picture.height, picture.width) != size:
        # scaling only the centred box that becomes the target costs least and crops exactly
        scale = max(height / picture.height, width / picture.width)
        box_height, box_width = min(height / scale, picture.height), min(width / scale, picture.width)
        top, left = (picture.height - box_height) / 2, (picture.width - box_width) / 2
        box = (left, top, left + box_width, top + box_height)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(picture, np.uint8).reshape(height, width, channels)


def to_mode(picture: Image.Image, channels: int, top: float | None = None) -> Image.Image:
    """`picture` in grey (1), RGB (3) or RGBA (4), its colours as sRGB where it has a profile of its own.

    16-bit and float pictures become 8-bit, not clipped; `top` is what becomes 255, where that is known from elsewhere.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture, _top(picture) if top is None else top)
    elif picture.mode in ("1", "L") and isinstance(level := picture.info.get("transparency"), int):
        alpha = picture.convert("L").point([0 if i == level else 255 for i in range(256)])
        profile = picture.info.get("icc_profile")
        picture = picture.convert("L")
        picture.putalpha(alpha)
        picture.info = {} if profile is None else {"icc_profile": profile}
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    picture = _in_srgb(picture, has_alpha)
    if has_alpha and channels < 4:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode == MODES[channels] else picture.convert(MODES[channels])


def _top(picture: Image.Image) -> float | None:
    """The level that becomes 255 of a picture of more than 8 bits."""
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return None
    lowest, highest = (float(level) for level in picture.getextrema())  # type: ignore[arg-type]
    # a usual white, for a dark picture has a lower highest level; one a little over 1 is its own
    whites = (65535.0,) if picture.mode != "F" else (highest,) if 1 < highest <= 16 else (1.0, 255.0, 65535.0)
    top = next((white for white in whites if highest <= white), highest) if np.isfinite(highest) else whites[0]
    if lowest < -0.1 * top:
        raise ValueError(f"it has levels from {lowest:g} to {highest:g}: save it with levels from 0 on")
    return top


def _eight_bits(picture: Image.Image, top: float | None) -> Image.Image:
    levels = np.nan_to_num(np.asarray(picture).astype(np.float32))
    transparent = picture.info.get("transparency")  # a level
    scaled = (levels.clip(0, top) * np.float32(255 / (top or 255))).round().astype(np.uint8)
    grey = Image.fromarray(scaled)
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    if "icc_profile" in picture.info:
        grey.info["icc_profile"] = picture.info["icc_profile"]
    return grey


def _in_srgb(picture: Image.Image, has_alpha: bool) -> Image.Image:
    """Colours of another profile as sRGB (relative colorimetric); without a usable profile the picture itself."""
    profile = picture.info.get("icc_profile")
    plain = picture.mode
    if plain in ("P", "PA") or has_alpha:
        plain = "L" if plain in ("LA", "La") else "RGB"
    if plain == "1":
        return picture
    transform = _transform(profile if isinstance(profile, bytes) else None, plain)
    if transform is None:
        return picture
    alpha = picture.convert("RGBA").getchannel("A") if has_alpha else None
    whole = picture if picture.mode == plain else picture.convert("RGBA" if has_alpha else plain).convert(plain)
    converted: Any = transform.apply(whole)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes | None, mode: str) -> Any:
    """From the colours of `profile` in the pixels of `mode` to sRGB; None where there is nothing to do, or no way."""
    if profile is None and mode != "LAB":
        return None
    try:
        source: Any = ImageCms.createProfile("LAB")
        space = "LAB"
        if profile is not None and mode != "LAB":
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
        if {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L", "LAB": "LAB"}.get(space) != mode:
            return None
        transform: Any = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if mode == "RGB" and _changes_nothing(transform) else transform
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError, AttributeError):  # a broken profile is ignored
        return None


def _changes_nothing(transform: Any) -> bool:
    """Whether the colours of a grid stay what they are; what a profile is called says little."""
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(16, 256, 3)
    converted = np.asarray(transform.apply(Image.fromarray(grid)))
    return int(np.abs(converted.astype(int) - grid).max()) <= SAME
