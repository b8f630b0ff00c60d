"""Every regulariser of the game by name: a judge's as functions of its round, the generator's of its update.

The weights are in the rules. Penalties on slopes are functions of a critic (`losses/penalty.py`) and are taken through
the augmentation; the others compare outputs or weights, or the outputs for a second look at the same pictures.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.keys import fold
from genjax_art.losses.penalty import PENALTIES, consistency, lecam, orthogonal, squared_gradient_norm
from genjax_art.objectives.rounds import Round, Update
from genjax_art.shards import global_normal

LATENT_NOISE = 0.05  # standard deviation of dz in zCR, our choice

Regulariser = Callable[[Round], Float[Array, "..."]]  # per example, or one number
GeneratorRegulariser = Callable[[Update], Float[Array, "..."]]


def lecam_of(round: Round) -> Float[Array, "b"]:
    """LeCam, with the moving averages of the rounds before; they start at 0 (arXiv:2104.03310)."""
    assert round.of_real is not None
    averages = round.memory["average_real"], round.memory["average_fake"]
    return lecam(round.of_real["logits"], round.of_fake["logits"], *averages)


def cr(round: Round) -> Float[Array, "b"]:
    """(D(x) - D(T(x)))^2, T the rules' `second_look`: Zhang et al. 2020 (arXiv:1910.12027), their weight 10."""
    assert round.of_real is not None
    return consistency_of(round, round.of_real["logits"], round.look_again(round.shown_real, "real"))


def bcr(round: Round) -> Float[Array, "b"]:
    """CR on reals and on fakes, from one call: bCR of Zhao et al. 2020 (arXiv:2002.04724)."""
    assert round.of_real is not None
    both = [round.look_again(round.shown_real, "real"), round.look_again(round.shown_fake, "fake")]
    logits = jnp.concatenate([round.of_real["logits"], round.of_fake["logits"]])
    real, fake = jnp.split(consistency_of(round, logits, jnp.concatenate(both)), 2)
    return real + fake


def consistency_of(round: Round, logits: Float[Array, "b"], shown: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    return consistency(logits[:, None], round.judge(shown)["logits"][:, None])


def beside(update: Update) -> Float[Array, "b *shape"]:
    """G(z + dz), the same for all judges; dz is normal noise on every leaf of z that holds real numbers."""

    def near(path: Any, leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf  # codes and counts have no neighbours
        # the path of latents that are a single array is empty
        noise = global_normal(fold(update.key, "beside" + jax.tree_util.keystr(path)), leaf.shape)
        return leaf + LATENT_NOISE * noise.astype(leaf.dtype)

    return update.make(jax.tree_util.tree_map_with_path(near, update.z))


def zcr_discriminator(round: Round) -> Float[Array, "b"]:
    """(D(G(z)) - D(G(z + dz)))^2: nearby latents look alike to D. zCR of Zhao et al. 2020 (arXiv:2002.04724)."""
    return consistency_of(round, round.of_fake["logits"], round.see(round.view(beside(round), "fake"), "fake"))


def zcr_generator(update: Update) -> Float[Array, "b"]:
    """-||G(z) - G(z + dz)||^2: and are made different by G. Source as for the discriminator."""
    return -consistency(update.made, beside(update))


def orthogonal_of(update: Update) -> Float[Array, ""]:
    """Overlap of different filters of the player: Brock et al. 2019 (arXiv:1809.11096), their weight 1e-4, on G."""
    return orthogonal(update.own)


OF_DISCRIMINATOR: Mapping[str, Regulariser] = {
    "lecam": lecam_of,
    "cr": cr,
    "bcr": bcr,
    "zcr": zcr_discriminator,
    "orthogonal": orthogonal_of,
}
OF_GENERATOR: Mapping[str, GeneratorRegulariser] = {"zcr": zcr_generator, "orthogonal": orthogonal_of}


def slopes(names: frozenset[str], round: Round) -> dict[str, Float[Array, ""]]:
    """The means of the named penalties on D's slope in what its view gives; R1 and R2 come from one pull-back."""
    n = len(round.real)

    def critic_of_both(pair: Array) -> Array:
        shown = [round.see(pair[:n], "real"), round.see(pair[n:], "fake")]
        return round.judge(jnp.concatenate(shown))["logits"]

    def critic(x: Array) -> Array:
        return round.judge(round.see(x, "real"))["logits"]

    paid = {}
    if names >= {"r1", "r2"}:
        squares = squared_gradient_norm(critic_of_both, jnp.concatenate([round.real, round.fake]))
        paid = {"r1": squares[:n], "r2": squares[n:]}
    for name in sorted(names - paid.keys()):
        paid[name] = PENALTIES[name](critic, round.real, round.fake, fold(round.judge_key, name))
    return {name: jnp.mean(value) for name, value in paid.items()}


def lazy_slopes(
    names: frozenset[str], round: Round, interval: int, updates: Int[Array, ""] | None
) -> dict[str, Float[Array, ""]]:
    """`slopes`, at every `interval`-th update only and then times `interval`, so that their mean over time is kept."""
    if interval == 1 or not names:
        return slopes(names, round)
    assert updates is not None

    def due() -> dict[str, Float[Array, ""]]:
        return {name: interval * value for name, value in slopes(names, round).items()}

    return jax.lax.cond(updates % interval == 0, due, lambda: {name: jnp.zeros(()) for name in names})
