"""Every regulariser of the game by name, as a function of the round. Their weights are the rules' affair.

Penalties on slopes are functions of a critic (`losses/penalty.py`) and are taken through the augmentation; the others
look at outputs, weights, or a second look at the same pictures.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.keys import fold
from genjax_art.losses.penalty import PENALTIES, consistency, lecam, orthogonal, squared_gradient_norm
from genjax_art.objectives.rounds import Round
from genjax_art.shards import global_normal

LATENT_NOISE = 0.05  # standard deviation of dz in zCR, our choice

Regulariser = Callable[[Round], Float[Array, "..."]]  # per example, or one number


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
    """CR on reals and on fakes, from one call: bCR of Zhao et al. 2021 (arXiv:2002.04724)."""
    assert round.of_real is not None
    both = [round.look_again(round.shown_real, "real"), round.look_again(round.shown_fake, "fake")]
    logits = jnp.concatenate([round.of_real["logits"], round.of_fake["logits"]])
    real, fake = jnp.split(consistency_of(round, logits, jnp.concatenate(both)), 2)
    return real + fake


def consistency_of(round: Round, logits: Float[Array, "b"], shown: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    return consistency(logits[:, None], round.judge(shown)["logits"][:, None])


def beside(round: Round) -> Float[Array, "b *shape"]:
    """G(z + dz)."""
    return round.make(round.z + LATENT_NOISE * global_normal(fold(round.key, "beside"), round.z.shape))


def zcr_discriminator(round: Round) -> Float[Array, "b"]:
    """(D(G(z)) - D(G(z + dz)))^2: nearby latents look alike to D. zCR of Zhao et al. 2021 (arXiv:2002.04724)."""
    return consistency_of(round, round.of_fake["logits"], round.see(beside(round), "fake"))


def zcr_generator(round: Round) -> Float[Array, "b"]:
    """-||G(z) - G(z + dz)||^2: and are made different by G. Source as for the discriminator."""
    return -consistency(round.fake, beside(round))


def orthogonal_of(round: Round) -> Float[Array, ""]:
    """Overlap of different filters of the player: Brock et al. 2019 (arXiv:1809.11096), their weight 1e-4, on G."""
    return orthogonal(round.own)


OF_DISCRIMINATOR: Mapping[str, Regulariser] = {
    "lecam": lecam_of,
    "cr": cr,
    "bcr": bcr,
    "zcr": zcr_discriminator,
    "orthogonal": orthogonal_of,
}
OF_GENERATOR: Mapping[str, Regulariser] = {"zcr": zcr_generator, "orthogonal": orthogonal_of}


def slopes(names: frozenset[str], round: Round) -> dict[str, Float[Array, ""]]:
    """The means of the named penalties on D's slope; R1 and R2 together come from one pull-back."""
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
        paid[name] = PENALTIES[name](critic, round.real, round.fake, fold(round.key, name))
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
