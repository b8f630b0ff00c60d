"""Small clips whose content and motion are known, for tests: a coloured square that goes down a line or in a circle."""

import numpy as np

from genjax_art.data.contract import ArraySource
from genjax_art.spec import ArraySpec

COLOURS = np.asarray([[240, 60, 50], [60, 200, 80], [70, 110, 255]], np.uint8)
FRAMES, SIDE, SQUARE = 4, 8, 3


def paths(motion, phase, frames=FRAMES, side=SIDE):
    """Top left corners [n, frames, 2] for phases in 0 to 1: motion 0 goes down a line, 1 round a circle."""
    t, room = np.arange(frames), side - SQUARE
    across = np.broadcast_to(room * phase[:, None], (len(phase), frames))
    line = np.stack([np.broadcast_to(t * room / (frames - 1), across.shape), across], -1)
    turn = 2 * np.pi * (phase[:, None] + t / frames)
    circle = room / 2 * (1 + np.stack([np.sin(turn), np.cos(turn)], -1))
    return np.rint(np.where((motion == 0)[:, None, None], line, circle)).astype(int)


def draw(label, corners, side=SIDE):
    """Clips [n, frames, side, side, 3] of levels: a square in the colour of the label, on black."""
    x = np.zeros((*corners.shape[:2], side, side, 3), np.uint8)
    for i, path in enumerate(corners):
        for t, (top, left) in enumerate(path):
            x[i, t, top : top + SQUARE, left : left + SQUARE] = COLOURS[label[i]]
    return x


def source(n, seed, frames=FRAMES, side=SIDE):
    """`n` clips: labels and motions in turn, phases drawn."""
    rng = np.random.default_rng(seed)
    label, motion = (np.arange(n) % 3).astype(np.int32), (np.arange(n) // 3 % 2).astype(np.int32)
    x = draw(label, paths(motion, rng.random(n), frames, side), side)
    spec = ArraySpec(x.shape[1:], kind="clip", classes=("red", "green", "blue"), rate=8.0)
    return ArraySource(spec, {"x": x, "label": label, "motion": motion})


def in_range(x):
    return x.astype(np.float32) / np.float32(127.5) - 1
