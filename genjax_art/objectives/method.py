"""What an objective makes of networks and losses: players, their first parameters, and how to sample.

Latents are any pytree of arrays, batch first (see `latents.py`). Drawing them and decoding them are two things, so that
what lies between can be walked through, varied and looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from genjax_art.latents import Latents, Spread
from genjax_art.spec import Key, Keys, Params
from genjax_art.train.player import Player


class Weights(NamedTuple):
    """What sampling sees of a state, keyed by player: of all of them, so that a learned prior is a player, too."""

    params: Mapping[str, Params]  # moving averages where they are kept and wanted
    extras: Mapping[str, Any]


# draw(weights, key, n, label, spread): n latents from the prior, for these labels (int [n]; None without classes).
Draw = Callable[[Weights, Key, int, Array | None, Spread], Latents]
# decode(weights, z, label, keys): examples [n, *shape] in the spec's range. `keys` [n], one for each example, are for
# what a decoder draws itself (tokens, say): None takes the likeliest. Noise around a picture is not drawn: a likelihood
# of pixels gives its mean. A label may be shares of the classes, [n, classes].
Decode = Callable[[Weights, Latents, Array | None, Keys | None], Array]
# encode(weights, x, label, keys): the latents of examples, the same tree as `draw` gives: drawn from q(z|x), or without
# `keys` its mean.
Encode = Callable[[Weights, Array, Array | None, Keys | None], Latents]


@dataclass(frozen=True)
class Method:
    """A training method: `make_step(m.players)` and `create_state(m.players, *m.init(key))` are all it needs.

    `abilities` are what few methods can, by name; a verb or a measure asks for them. Known ones:
      between(a, b, t): latents between others, where great circles are not the way (see `latents.great_circles`)
      bound(weights, x, label, keys): the evidence lower bound of examples and its parts, {name: [b]} in nats
      longer(weights, key, n, label, spread, frames): as `draw`, {"content": [n, c], "motion": [n, frames, m]} of so
        many frames; `decode` takes any number, and a content of each frame, [n, frames, c]
      posterior(weights, x, label): mu and logvar of q(z|x), a `Gaussian`
      proceed(weights, x, given, key): x with what follows its first `given` steps of time made anew
      token_logits(weights, z, x): logits [b, steps, voices, tokens], given z and the steps of x before each; of music
    """

    players: tuple[Player, ...]
    init: Callable[[Key], tuple[Mapping[str, Params], Mapping[str, Any]]]  # parameters and extras per player
    draw: Draw
    decode: Decode
    encode: Encode | None = None
    classes: tuple[str, ...] = ()  # of a conditional method; empty otherwise
    abilities: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def standard_normal(latents: int) -> Draw:
    """Draws z [n, latents] from N(0, 1)."""

    def draw(weights: Weights, key: Key, n: int, label: Array | None, spread: Spread) -> Array:
        del weights, label
        return spread.normal(key, (n, latents))

    return draw


@partial(jax.jit, static_argnums=(1, 2))
def draw_labels(key: Key, n: int, classes: int) -> Int[Array, " n"]:
    """Labels in equal numbers as far as n allows, in random order."""
    return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32) % classes)
