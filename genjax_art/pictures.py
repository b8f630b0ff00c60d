"""Pictures to one size and one number of channels."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode_picture(encoded: bytes, size: tuple[int, int], channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """A PNG, JPEG, ... as an array: see `fit_picture`."""
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


def to_mode(picture: Image.Image, channels: int) -> Image.Image:
    """`picture` in grey (1), RGB (3) or RGBA (4); 16-bit and float pictures become 8-bit, not clipped."""
    if picture.mode.startswith("I") or picture.mode == "F":
        levels = np.asarray(picture, np.float32)
        top = 65535 if picture.mode.startswith("I") else max(1.0, float(levels.max()))
        transparent = picture.info.get("transparency")  # a level
        picture = Image.fromarray((levels.clip(0, top) * np.float32(255 / top)).round().astype(np.uint8))
        if transparent is not None:
            picture.putalpha(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    if has_alpha and channels < 4:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert(MODES[channels])
