"""What an objective makes of networks and losses: players, their first parameters, and a sampler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError
from genjax_art.spec import Key, Params
from genjax_art.train.player import Player

# generate(params, extras, z, label) -> x in the spec's range; params and extras are those of `Method.sampled`
Generate = Callable[[Params, Mapping[str, Any], Array, Array | None], Array]
# encode(params, x, label) -> mu, logvar of q(z|x), [b, latents] each
Encode = Callable[[Params, Array, Array | None], tuple[Array, Array]]
# proceed(params, x, given, key) -> x with what follows its first `given` steps made anew; of autoregressive methods
Proceed = Callable[[Params, Array, int, Key], Array]
# token_logits(params, z, x) -> [b, steps, voices, tokens], given z and the steps of x before each; of music
TokenLogits = Callable[[Params, Array, Array], Array]


@dataclass(frozen=True)
class Method:
    """A training method: `make_step(m.players)` and `create_state(m.players, *m.init(key))` are all it needs."""

    players: tuple[Player, ...]
    init: Callable[[Key], tuple[Mapping[str, Params], Mapping[str, Any]]]  # parameters and extras per player
    generate: Generate
    sampled: str  # the player that samples, whose moving average is used where there is one
    latents: int  # z is [b, latents], standard normal
    classes: tuple[str, ...] = ()  # of a conditional method; empty otherwise
    # what not every method can do; None where it cannot
    encode: Encode | None = None
    proceed: Proceed | None = None
    token_logits: TokenLogits | None = None


def draw_latents(key: Key, n: int, latents: int, truncation: float | None = None) -> Float[Array, "n latents"]:
    """Standard normal latents; with `truncation` t > 0 in [-t, t] (BigGAN, arXiv:1809.11096)."""
    if truncation is None:
        return jax.random.normal(key, (n, latents))
    if truncation <= 0:
        raise UsageError(f"--truncation must be positive, got {truncation}")
    return jax.random.truncated_normal(key, -truncation, truncation, (n, latents))


def draw_labels(key: Key, n: int, classes: int) -> Int[Array, " n"]:
    """Labels in equal numbers as far as n allows, in random order."""
    return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32) % classes)
