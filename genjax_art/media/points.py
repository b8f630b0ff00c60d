"""Points as files: a scatter plot as PNG."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art.errors import UsageError
from genjax_art.media.image import write_png
from genjax_art.media.medium import Medium
from genjax_art.spec import ArraySpec

SIDE = 384  # pixels of the square plot
INK = 96  # levels that one point takes off a white pixel: places with several points are darker
DOT = 1  # pixels around a point's own that it blackens, too


def sheet(x: Float[np.ndarray, "n d"], spec: ArraySpec) -> UInt8[np.ndarray, "h w 1"]:
    """Scatter plot of the first two coordinates over the spec's range, the second one upwards.

    Points outside the range are drawn on the edge, NaN not at all.
    """
    flat = np.zeros((len(x), 1), x.dtype)  # points on a line have no second coordinate
    xy = np.concatenate([x, flat], 1)[:, :2]
    xy = xy[np.isfinite(xy).all(1)]
    share = np.clip((xy - spec.low) / (spec.high - spec.low), 0, 1)
    column, row = (np.minimum(s * SIDE, SIDE - 1).astype(int) for s in (share[:, 0], 1 - share[:, 1]))
    counts = np.zeros((SIDE + 2 * DOT, SIDE + 2 * DOT), int)
    for down in range(2 * DOT + 1):
        for right in range(2 * DOT + 1):
            np.add.at(counts, (row + down, column + right), 1)
    inside = counts[DOT : DOT + SIDE, DOT : DOT + SIDE]
    return np.maximum(255 - INK * inside, 0).astype(np.uint8)[..., None]


def write_samples(out: Path, x: Float[np.ndarray, "n d"], spec: ArraySpec, metadata: Mapping[str, str]) -> list[Path]:
    """Write points as the ending of `out` asks and return the files written.

    `.png`: a scatter plot of the first two coordinates.

    Raises:
      UsageError: another ending.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"unknown ending {out.suffix!r} of {out}: points are written as .png or .npz")
    write_png(out, sheet(x, spec), metadata)
    return [out]


MEDIUM = Medium(write=write_samples, sheet=sheet, samples=(".png",), walk=(".png",), metrics=("sliced_wasserstein",))
