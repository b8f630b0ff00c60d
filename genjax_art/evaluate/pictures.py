"""Pictures for the eye beside the figures: samples, held-out data, and samples beside their nearest training examples.

They are made by the medium's own `sheet`, so that rolls and clips are drawn as they always are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from genjax_art.media.medium import sheet
from genjax_art.metrics.copying import copy_rate, nearest_training
from genjax_art.metrics.subject import Subject

SHOWN, SHOWN_WIDE = 64, 16  # examples on a sheet
ROWS, NEAREST = 12, 5  # samples that are shown beside so many training examples
ROWS_WIDE, NEAREST_WIDE = 6, 3
WIDE = 3  # widths over heights from which on an example's own sheet is a row of frames


@dataclass(frozen=True, eq=False)
class Sheets:
    samples: UInt8[np.ndarray, "h w c"]
    held: UInt8[np.ndarray, "h2 w2 c"]
    neighbours: UInt8[np.ndarray, "h3 w3 c"] | None
    """Each row: a sample, then the training examples nearest to its features; None where there are no features. The
    first half of the rows are those that look most like copies. What is wide itself has them below it."""


def draw(subject: Subject) -> Sheets:
    """The sheets of a run."""
    shown = SHOWN_WIDE if _wide(subject) else SHOWN
    held = subject.some(subject.held, shown)
    near = neighbours(subject) if subject.looked else None
    return Sheets(sheet(subject.made[:shown], subject.spec), sheet(held, subject.spec), near)


def neighbours(subject: Subject) -> UInt8[np.ndarray, "h w c"]:
    """Samples and their nearest training examples: the most suspicious first, then the first ones."""
    seen, wide = subject.seen, _wide(subject)
    rows, nearest = (ROWS_WIDE, NEAREST_WIDE) if wide else (ROWS, NEAREST)
    chosen = _chosen(copy_rate(seen.known, seen.held, seen.made).near, len(seen.made), rows)
    near = nearest_training(seen.known, seen.made[chosen], min(nearest, len(seen.known)))
    found = []
    for number, training in zip(chosen, near, strict=True):
        examples = subject.in_range(subject.known.take(training)["x"])
        tiles = [sheet(x[None], subject.spec) for x in (subject.made[number], *examples)]
        height, width, channels = tiles[0].shape
        gap = np.full((height // 4, width, channels) if wide else (height, width // 4, channels), 255, np.uint8)
        if wide:
            found.append(np.concatenate([tiles[0], gap, *tiles[1:], gap, gap], axis=0))
        else:
            found.append(np.concatenate([tiles[0], gap, *tiles[1:]], axis=1))
    return np.concatenate(found)


def _wide(subject: Subject) -> bool:
    height, width, _ = sheet(subject.made[:1], subject.spec).shape
    return width > WIDE * height


def _chosen(near: Bool[np.ndarray, " m"], n: int, rows: int) -> list[int]:
    suspicious = list(np.nonzero(near)[0][: rows // 2])
    return [int(i) for i in (suspicious + [i for i in range(n) if i not in suspicious])[:rows]]
