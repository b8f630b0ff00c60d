"""Clips that are wrong in time and right in every frame: what a measure of clips must tell from the data.

A measure that puts them beside the data sees pictures, not motion, so its figures of them are printed with every
result.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from genjax_art.metrics.row import Figure, Row, figure_record

Clips = Float[np.ndarray, "n t h w c"]


def frozen(x: Float[np.ndarray, "n t h w c"]) -> Float[np.ndarray, "n t h w c"]:
    """The first frame of each clip, as long as the clip."""
    return np.repeat(x[:, :1], x.shape[1], axis=1)


def shuffled(x: Float[np.ndarray, "n t h w c"], seed: int = 0) -> Float[np.ndarray, "n t h w c"]:
    """The frames of each clip in a random order, which is not their own one (if there are two frames or more)."""
    rng, t = np.random.default_rng(seed), x.shape[1]
    orders = rng.permuted(np.tile(np.arange(t), (len(x), 1)), axis=1)
    same = (orders == np.arange(t)).all(1)
    orders[same] = np.roll(orders[same], 1, axis=1)
    return np.take_along_axis(x, orders.reshape(len(x), t, 1, 1, 1), axis=1)


def controls(x: Float[np.ndarray, "n t h w c"], seed: int = 0) -> dict[str, Clips]:
    """Both by name: the first frame frozen, and all frames shuffled."""
    return {"frozen": frozen(x), "shuffled": shuffled(x, seed)}


def with_controls(row: Row, figures: Mapping[str, Figure]) -> Row:
    """The row with the figures of controls beside it, measured as its samples are."""
    return replace(row, controls={name: figure_record(row.samples, figure) for name, figure in figures.items()})
