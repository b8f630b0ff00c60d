"""Clips of one coloured shape on a curved path, drawn here with NumPy: content and motion are known exactly.

Four shapes of about the same area in five colours on black make 20 contents, the labels; "shape", "colour" and "motion"
number what they are made of and the path (`MOTIONS`). A clip's path has a phase, a direction of time, a speed, an
extent and a centre of its own; its content never changes. Clips come content after content and then motion after
motion, so that every 100 in a row have each content with each motion once; "test" has other draws than "train".

Only those few numbers of each clip are kept. A clip is drawn when it is taken: the shape, antialiased (64 samples a
pixel), to an eighth of a pixel where it is. After the two-dimensional shapes of MoCoGAN (Tulyakov et al. 2018,
arXiv:1707.04993).
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from genjax_art.data.contract import NoSplit
from genjax_art.errors import UsageError
from genjax_art.spec import ArraySpec

NAME = "moving_shapes"
LENGTHS: Mapping[str, int] = {"train": 20_000, "test": 4_000}
RADIUS = 5 / 32  # of a circle, in sides of the frame
FINE = 8  # places within a pixel, and samples along its side
LEAST = 16  # pixels of a frame's side

Plane = Float[np.ndarray, "..."]

# whether the point (right, down) is inside, in units of the circle's radius; all have its area within 1 %
SHAPES: Mapping[str, Callable[[Plane, Plane], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.886,
    "triangle": lambda x, y: (y < 0.75) & (y > 1.6 * abs(x) - 1.49),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.4) & (np.maximum(abs(x), abs(y)) < 1.18),
}
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (240, 60, 50),
    "green": (60, 200, 80),
    "blue": (70, 110, 255),
    "yellow": (250, 220, 60),
    "white": (240, 240, 240),
}


def _sweep(t: Plane) -> Plane:
    """To and fro between -1 and 1 with constant speed, once in a unit of t."""
    return 4 * abs(t - np.floor(t + 0.5)) - 1


# (right, down) in -1 to 1 of the path at t, in rounds
MOTIONS: Mapping[str, Callable[[Plane], tuple[Plane, Plane]]] = {
    "circle": lambda t: (np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)),
    "eight": lambda t: (np.sin(2 * np.pi * t), np.sin(4 * np.pi * t) / 2),
    "bounce": lambda t: (_sweep(t / 2), 1 - 2 * abs(np.cos(2 * np.pi * t))),
    "swing": lambda t: (np.sin(np.pi / 3 * np.sin(2 * np.pi * t)), 2 * np.cos(np.pi / 3 * np.sin(2 * np.pi * t)) - 2),
    "zigzag": lambda t: (_sweep(2 * t) / 2, _sweep(t / 2)),
}
CLASSES = tuple(f"{colour}_{shape}" for shape in SHAPES for colour in COLOURS)


def build(
    *, split: str = "train", frames: int = 16, size: int = 32, rate: float = 8.0, stride: int = 1
) -> "ShapesSource":
    """Clips of one coloured shape on a curved path: 20 contents as labels, 5 motions, both known exactly.

    Args:
      split: which clips: train (20,000) or test (4,000), of other draws.
      frames: frames of a clip.
      size: height and width of a frame in pixels, at least 16.
      rate: frames per second of the film that clips are taken of; a round of a path takes 1.3 to 2.2 seconds.
      stride: which frames of that film: each, every second, ...

    Raises:
      NoSplit: another split. UsageError: a number that makes no clip.
    """
    if split not in LENGTHS:
        raise NoSplit(NAME, split, LENGTHS)
    if frames < 1 or size < LEAST or stride < 1 or not 0 < rate < math.inf:
        raise UsageError(
            f"{NAME}: frames and stride must be at least 1, size at least {LEAST} and rate over 0; "
            f"got {frames}, {stride}, {size} and {rate:g}"
        )
    spec = ArraySpec((frames, size, size, 3), kind="clip", classes=CLASSES, rate=rate / stride)
    return ShapesSource(spec, draw_paths(LENGTHS[split], list(LENGTHS).index(split)))


@dataclass(frozen=True, eq=False)
class Paths:
    """What is drawn of so many clips: `centre` and `extent` of each path in units of the room that there is."""

    motion: Int32[np.ndarray, " n"]
    phase: Float[np.ndarray, " n"]  # in rounds
    speed: Float[np.ndarray, " n"]  # rounds per second, below 0 backwards
    extent: Float[np.ndarray, " n"]
    centre: Float[np.ndarray, "n 2"]  # right, down

    def at(self, clips: Int[np.ndarray, " m"], times: Float[np.ndarray, " t"]) -> Float[np.ndarray, "m t 2"]:
        """Where the shapes are, (right, down) in -1 to 1, at times in seconds."""
        rounds = self.phase[clips, None] + self.speed[clips, None] * times
        place = np.empty((*rounds.shape, 2))
        for number, path in enumerate(MOTIONS.values()):
            chosen = self.motion[clips] == number
            place[chosen] = np.stack(path(rounds[chosen]), -1)
        return self.centre[clips, None] + self.extent[clips, None, None] * place


def draw_paths(length: int, stream: int) -> Paths:
    """The paths of the clips 0 to `length` - 1 of one split."""
    rng = np.random.default_rng([zlib.crc32(NAME.encode()), stream])
    motion = (np.arange(length) // len(CLASSES) % len(MOTIONS)).astype(np.int32)
    phase, speed, extent = rng.random(length), rng.uniform(0.45, 0.75, length), rng.uniform(0.55, 0.85, length)
    direction = np.where(rng.random(length) < 0.5, -1, 1)
    centre = rng.uniform(-1, 1, (length, 2)) * (1 - extent[:, None])
    return Paths(motion, phase, direction * speed, extent, centre)


@dataclass(frozen=True, eq=False)
class ShapesSource:
    """Clips drawn from their paths. Clip i shows content i modulo 20."""

    spec: ArraySpec
    paths: Paths

    def __len__(self) -> int:
        return len(self.paths.motion)

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        indices = np.asarray(indices)
        frames, size, _, _ = self.spec.shape
        label = (indices % len(CLASSES)).astype(np.int32)
        shape, colour = np.divmod(label, len(COLOURS))
        drawn = drawings(size)
        side = drawn.shape[-2]
        assert self.spec.rate is not None
        place = self.paths.at(indices, np.arange(frames) / self.spec.rate)
        corner = np.rint((place + 1) / 2 * (size - side) * FINE).astype(int)
        whole, part = np.divmod(corner, FINE)
        x = np.zeros((len(indices), *self.spec.shape), np.uint8)
        flat = x.reshape(-1, size, size, 3)
        pieces = drawn[np.repeat(shape, frames), np.repeat(colour, frames), part[..., 1].ravel(), part[..., 0].ravel()]
        for frame, piece, (left, top) in zip(flat, pieces, whole.reshape(-1, 2).tolist(), strict=True):
            frame[top : top + side, left : left + side] = piece
        return {"x": x, "label": label, "shape": shape, "colour": colour, "motion": self.paths.motion[indices]}

    @cached_property
    def fingerprint(self) -> str:
        """By the numbers that clips are drawn from, and how."""
        check = zlib.crc32(repr((self.spec, list(COLOURS.items()))).encode())
        for field in fields(self.paths):
            check = zlib.crc32(np.ascontiguousarray(getattr(self.paths, field.name)).tobytes(), check)
        return f"{NAME}-{check:08x}"


@lru_cache(maxsize=4)
def drawings(size: int) -> UInt8[np.ndarray, "shape colour down right side side 3"]:
    """Each shape in each colour at each place within a pixel, for frames of so many pixels."""
    radius = RADIUS * size
    side = math.ceil(2 * 1.25 * radius) + 1
    samples = (side + 1) * FINE
    middle = side / 2 * FINE
    right, down = np.meshgrid(np.arange(samples) + 0.5 - middle, np.arange(samples) + 0.5 - middle)
    colours = np.array(list(COLOURS.values()), np.float64)
    drawn = np.zeros((len(SHAPES), len(COLOURS), FINE, FINE, side, side, 3), np.uint8)
    for number, inside in enumerate(SHAPES.values()):
        mask = np.pad(inside(right / FINE / radius, down / FINE / radius), ((FINE, 0), (FINE, 0)))
        for i in range(FINE):
            for j in range(FINE):
                part = mask[FINE - i :, FINE - j :][: side * FINE, : side * FINE]
                share = part.reshape(side, FINE, side, FINE).mean((1, 3))
                drawn[number, :, i, j] = np.floor(colours[:, None, None] * share[..., None] + 0.5)
    drawn.flags.writeable = False
    return drawn
