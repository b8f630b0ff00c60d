"""Moving MNIST: digits that bounce in a frame, the data set of Srivastava et al. 2015 (arXiv:1502.04681).

As their program makes it: each digit begins at a place and with a direction drawn uniformly, goes a tenth of the room
that it has in each frame, and is reflected where it would leave the frame; where digits overlap, the brighter pixel is
seen. "train" has MNIST's training digits, "test" others. Only the numbers of the digits, their first places and
directions are drawn and kept, once, from a fixed seed; clips are drawn when they are taken. `digit_1`, `digit_2`, ...
are what the digits show; of one digit that is the label, too.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from genjax_art.data.content import content_of
from genjax_art.data.contract import NoSplit, Source
from genjax_art.data.digits import open_digits
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec

NAME = "moving_digits"
LENGTHS: Mapping[str, int] = {"train": 60_000, "test": 10_000}
DIGIT = 28 / 64  # side of a digit in sides of the frame
STEP = 0.1  # of the room, in a frame
LEAST = 16  # pixels


def build(
    *,
    split: str = "train",
    data_dir: Path | str | None = None,
    frames: int = 20,
    size: int = 64,
    digits: int = 2,
    rate: float = 10.0,
    stride: int = 1,
) -> "DigitsSource":
    """Digits that bounce in a frame (Moving MNIST), of mnist where it is prepared, else of mnist_5k.

    Args:
      split: which clips: train (60,000) or test (10,000), of other digits.
      data_dir: where mnist may lie prepared (default: TFDS_DATA_DIR, else tensorflow_datasets in the home folder).
      frames: frames of a clip.
      size: height and width of a frame in pixels, at least 16; digits are 7/16 as large.
      digits: how many there are in a clip.
      rate: frames per second of the film that clips are taken of; the paper does not say. A step is made in each.
      stride: which frames of that film: each, every second, ...

    Raises:
      NoSplit: another split. DataError: the digits cannot be had. UsageError: a number that makes no clip.
    """
    if split not in LENGTHS:
        raise NoSplit(NAME, split, LENGTHS)
    if min(frames, digits, stride) < 1 or size < LEAST or not 0 < rate < math.inf:
        raise UsageError(
            f"{NAME}: frames, digits and stride must be at least 1, size at least {LEAST} and rate over 0; "
            f"got {frames}, {digits}, {stride}, {size} and {rate:g}"
        )
    side = round(DIGIT * size)
    found, origin = open_digits(NAME, split, data_dir, (side, side))
    rng = np.random.default_rng([zlib.crc32(NAME.encode()), list(LENGTHS).index(split), digits])
    n = LENGTHS[split]
    rows = rng.integers(0, len(found), (n, digits), dtype=np.int32)
    start, angle = rng.random((n, digits, 2)), rng.uniform(0, 2 * np.pi, (n, digits))
    direction = np.stack([np.sin(angle), np.cos(angle)], -1)
    classes = found.spec.classes if digits == 1 else ()
    spec = ArraySpec((frames, size, size, 1), kind="clip", classes=classes, rate=rate / stride)
    return DigitsSource(spec, found, origin, rows, start, direction, stride)


@dataclass(frozen=True, eq=False)
class DigitsSource:
    """Clips in which the digits `rows[i]` move from `start[i]` into `direction[i]`, each (down, right)."""

    spec: ArraySpec
    digits: Source
    origin: str  # the data set of the digits
    rows: Int[np.ndarray, "n digits"]
    start: Float[np.ndarray, "n digits 2"]  # in units of the room
    direction: Float[np.ndarray, "n digits 2"]
    stride: int  # steps from frame to frame

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        rows = self.rows[indices]
        taken = self.digits.take(rows.reshape(-1))
        pictures = taken["x"].reshape(*rows.shape, *taken["x"].shape[1:])
        side = pictures.shape[2]
        room = self.spec.shape[1] - side
        steps = (self.spec.shape[0] - 1) * self.stride + 1
        path = bounced(self.start[indices], self.direction[indices], steps)[:, :: self.stride]
        places = (room * path).astype(int)
        x = np.zeros((len(rows), *self.spec.shape), np.uint8)
        windows = sliding_window_view(x[..., 0], (side, side), (2, 3), writeable=True)
        clip, frame = np.ogrid[: len(rows), : self.spec.shape[0]]
        for number in range(rows.shape[1]):
            at = clip, frame, places[:, :, number, 0], places[:, :, number, 1]
            picture = pictures[:, None, number, ..., 0]
            windows[at] = np.maximum(windows[at], picture) if number else picture
        label = taken["label"].reshape(rows.shape)
        found = {"x": x} | {f"digit_{i + 1}": label[:, i] for i in range(rows.shape[1])}
        return found | ({"label": label[:, 0]} if self.spec.classes else {})

    @cached_property
    def fingerprint(self) -> str:
        """By the digits, and what is drawn of them."""
        stride = (self.stride,) if self.stride > 1 else ()  # sets of runs from before there was one stay the same
        check = zlib.crc32(repr((self.spec, content_of(self.digits), *stride)).encode())
        for array in (self.rows, self.start, self.direction):
            check = zlib.crc32(array.tobytes(), check)
        return f"{NAME}-{check:08x}"


def bounced(
    start: Float[np.ndarray, "n digits 2"], direction: Float[np.ndarray, "n digits 2"], frames: int
) -> Float[np.ndarray, "n frames digits 2"]:
    """The places in 0 ... 1 of so many frames: a step in each, from an edge that is reached back again."""
    at, way, places = start.copy(), direction.copy(), []
    for _ in range(frames):
        at = at + STEP * way
        way = np.where((at <= 0) | (at >= 1), -way, way)
        at = at.clip(0, 1)
        places.append(at)
    return np.stack(places, 1)
