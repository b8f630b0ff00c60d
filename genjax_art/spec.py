"""The few types that every room shares: what an array means, a batch, a key.

Nothing here knows a medium, a model or a device. A medium enters the house only through an `ArraySpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

Params = Mapping[str, Any]  # one network's parameters (a Flax "params" collection)
Batch = Mapping[str, Array]  # "x": Float[b *shape] in the spec's range; "label": Int[b], where there are labels
Key = PRNGKeyArray
Keys = Shaped[Array, " n"]  # one key for each example
Label = Int[Array, " b"] | Float[Array, "b classes"]  # the class of each example, or its shares of all of them


@dataclass(frozen=True)
class ArraySpec:
    """What one example is: `shape` (space first, channels last), closed value range, and kind of medium.

    An image is (height, width, channels), a clip (frames, height, width, channels), a point (dimension,), a piano roll
    (steps, 60, 2 x voices), planes of onsets before those of sustained notes. `classes` names the labels, in the order
    of their indices; it is empty where the data has no labels. Values of a `bounded` spec keep to `low` ... `high`;
    those of another, the points of a mixture, may go beyond, so networks must not squash them. `rate` is the frames
    per second of clips.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    kind: str = "image"
    classes: tuple[str, ...] = ()
    bounded: bool = True
    rate: float | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial extents, without channels; empty for points."""
        return self.shape[:-1]

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def size(self) -> int:
        """Numbers in one example."""
        return prod(self.shape)
