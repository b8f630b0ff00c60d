"""A player: the unit of which every method is composed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optax
from jaxtyping import Array, Float

from genjax_art.spec import Batch, Key, Params

Metrics = Mapping[str, Float[Array, ""]]

# loss(own, others, extras, batch, key) -> (scalar, (metrics, new extras)). It is differentiated in `own`;
# `others` has no entry for the player itself, so that looking oneself up there fails instead of giving a
# silent zero gradient.
Loss = Callable[
    [Params, Mapping[str, Params], Mapping[str, Any], Batch, Key],
    tuple[Float[Array, ""], tuple[Metrics, Mapping[str, Any]]],
]


@dataclass(frozen=True)
class Player:
    """Who owns which parameters, what it minimises, how it moves, and how often a step.

    `stream` names the player's random numbers (its own name by default). Two players with the same stream draw
    the same numbers; a generator's forward pass on shared latents is then computed once for both.
    """

    name: str
    loss: Loss
    tx: optax.GradientTransformation
    repeats: int = 1
    stream: str | None = None
