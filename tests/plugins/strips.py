"""A medium in one file: clips [frames, height, width, channels] as strips of frames side by side, or as one GIF."""

import numpy as np

from genjax_art.errors import UsageError
from genjax_art.media import image
from genjax_art.media.medium import Medium
from genjax_art.spec import ArraySpec


def strips(x, spec):
    """Each clip as one wide picture, and the spec of that."""
    frames, height, width, channels = spec.shape
    wide = np.moveaxis(x, 1, 2).reshape(len(x), height, frames * width, channels)
    return wide, ArraySpec((height, frames * width, channels), spec.low, spec.high)


def sheet(x, spec):
    return image.grid(image.to_uint8(*strips(x, spec)), columns=1)


def write(out, x, spec, about, *, fps: float = 8.0):
    """Strips below one another, or all clips one after another.

    Args:
      fps: frames per second of the GIF.
    """
    if out.suffix == ".png":
        image.write_png(out, sheet(x, spec), about)
    elif out.suffix == ".gif":
        image.write_gif(out, image.to_uint8(x.reshape(-1, *spec.shape[1:]), spec), fps, about)
    else:
        raise UsageError(f"unknown ending {out.suffix!r} of {out}: use .png, .gif or .npz")
    return [out]


MEDIUM = Medium(write=write, sheet=sheet, samples=(".png",), walk=(".gif",), frames=3)
