"""One round of the adversarial game: what is at hand, in one update of one player, for whatever adds to its loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.latents import Latents
from genjax_art.spec import Batch, Key, Params

G, D = "generator", "discriminator"
STATISTICS = "batch_stats"  # the Flax collection that a network has if its examples depend on one another
MEMORY = "memory"  # the entry of a state's extras that belongs to the game, not to a network; see `memory.py`


Outputs = Mapping[str, Array]  # of a discriminator: "logits" [b], "features" [b, d], ...
Memory = Mapping[str, Array]
See = Callable[[Array, str], Array]  # x, "real" or "fake" -> what is made of it for the judge


@dataclass(frozen=True)
class Update:
    """What is at hand in an update of one player before a judge looks: b examples, and b that the generator made."""

    own: Params  # of the player to move
    batch: Batch
    label: Array | None
    z: Latents
    made: Float[Array, "b *shape"]  # G(z)
    make: Callable[[Latents], Array]  # z -> `made`, without remembering statistics
    key: Key  # the same for all judges


@dataclass(frozen=True)
class Round(Update):
    """An update in which one judge has looked at reals and fakes.

    `real` and `fake` are what its view gives of x and G(z), `shown_...` the same after augmentation, `of_...` its
    outputs for that. Where it judges packs of m examples, all of these have b / m rows.
    """

    real: Float[Array, "p *view"]
    fake: Float[Array, "p *view"]
    shown_real: Float[Array, "p *view"]
    shown_fake: Float[Array, "p *view"]
    of_real: Outputs | None  # None in a generator's round of a game that does not look at reals
    of_fake: Outputs
    view: See  # whole examples -> `real`, `fake`
    see: See  # these -> `shown_real`, `shown_fake`
    look_again: See  # these -> a second augmentation of them, for consistency
    judge: Callable[[Array], Outputs]  # of what is shown, or of twice as many rows, without remembering statistics
    memory: Memory  # this judge's
    step: Array | None  # how many steps of training are done; None where the judge's rules need no count
    judge_key: Key  # for what is drawn for this judge alone


# What a method adds to a player's loss, per example, and its metrics.
Term = Callable[[Round], tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]]


def apply(
    network: nn.Module, params: Params, extras: Mapping[str, Any], x: Latents, label: Array | None
) -> tuple[Any, Mapping[str, Any]]:
    """The network's output in training mode, and its new extras."""
    return network.apply({"params": params, **extras}, x, label, train=True, mutable=list(extras))


def judge_both(
    discriminator: nn.Module, params: Params, extras: Mapping[str, Any], real: Array, fake: Array, label: Array | None
) -> tuple[Outputs, Outputs, Mapping[str, Any]]:
    """The discriminator's outputs for reals and fakes, and its new extras.

    One call for both where it has no batch statistics: half the calls, twice the size. With statistics each kind
    is normalised by its own, as in DCGAN practice.
    """
    if STATISTICS in extras:
        real_out, extras = apply(discriminator, params, extras, real, label)
        fake_out, extras = apply(discriminator, params, extras, fake, label)
        return real_out, fake_out, extras
    out, extras = apply(discriminator, params, extras, jnp.concatenate([real, fake]), tiled(label, 2))
    n = real.shape[0]
    return {k: v[:n] for k, v in out.items()}, {k: v[n:] for k, v in out.items()}, extras


def tiled(label: Array | None, times: int) -> Array | None:
    """The labels of that many stacked batches."""
    return None if label is None else jnp.concatenate([label] * times)
