"""A data set in one file: clips of a bright dot that bounces in a small frame, with its size as the label."""

import numpy as np

from genjax_art.data.contract import ArraySource
from genjax_art.spec import ArraySpec

SIDE = 8


def build(*, split: str = "train", frames: int = 4, clips: int = 48) -> ArraySource:
    """Clips [frames, 8, 8, 1], the same for the same options.

    Args:
      split: train or test.
      frames: frames of a clip.
      clips: how many clips there are.
    """
    rng = np.random.default_rng([("train", "test").index(split), frames])
    place, speed = rng.uniform(1, SIDE - 2, (clips, 2)), rng.uniform(-2, 2, (clips, 2))
    label = rng.integers(0, 2, clips, dtype=np.int32)
    time = np.arange(frames)[None, :, None]
    path = np.abs((place[:, None] + time * speed[:, None]) % (2 * SIDE - 2) - (SIDE - 1))
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    distance = np.linalg.norm(grid - path[:, :, None, None], axis=-1)
    x = (255 * np.exp(-((distance / (1 + label[:, None, None, None])) ** 2))).astype(np.uint8)
    spec = ArraySpec((frames, SIDE, SIDE, 1), kind="strips:MEDIUM", classes=("small", "large"))
    return ArraySource(spec, {"x": x[..., None], "label": label})
