"""Pictures for the eye beside the figures: samples, held-out data, and samples beside their nearest training examples.

They are made by the medium's own `sheet`, so that rolls and clips are drawn as they always are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from genjax_art.media.medium import sheet
from genjax_art.metrics.copying import copy_rate, nearest_training
from genjax_art.metrics.subject import Subject

SHOWN = 64  # examples on a sheet
ROWS, NEAREST = 12, 5  # samples that are shown beside so many training examples


@dataclass(frozen=True, eq=False)
class Sheets:
    samples: UInt8[np.ndarray, "h w c"]
    held: UInt8[np.ndarray, "h2 w2 c"]
    neighbours: UInt8[np.ndarray, "h3 w3 c"] | None
    """Each row: a sample, then the training examples nearest to its features; None where there are no features. The
    first half of the rows are those that look most like copies."""


def draw(subject: Subject) -> Sheets:
    """The sheets of a run."""
    held = subject.some(subject.held, SHOWN)
    near = neighbours(subject) if subject.looked else None
    return Sheets(sheet(subject.made[:SHOWN], subject.spec), sheet(held, subject.spec), near)


def neighbours(subject: Subject) -> UInt8[np.ndarray, "h w c"]:
    """Rows of samples and their nearest training examples: the most suspicious first, then the first ones."""
    seen = subject.seen
    chosen = _chosen(copy_rate(seen.known, seen.held, seen.made).near, len(seen.made))
    near = nearest_training(seen.known, seen.made[chosen], min(NEAREST, len(seen.known)))
    rows = []
    for number, training in zip(chosen, near, strict=True):
        examples = subject.in_range(subject.known.take(training)["x"])
        tiles = [sheet(x[None], subject.spec) for x in (subject.made[number], *examples)]
        gap = np.full((tiles[0].shape[0], tiles[0].shape[1] // 4, tiles[0].shape[2]), 255, np.uint8)
        rows.append(np.concatenate([tiles[0], gap, *tiles[1:]], axis=1))
    return np.concatenate(rows)


def _chosen(near: Bool[np.ndarray, " m"], n: int) -> list[int]:
    suspicious = list(np.nonzero(near)[0][: ROWS // 2])
    return [int(i) for i in (suspicious + [i for i in range(n) if i not in suspicious])[:ROWS]]
