"""The VAE-GAN: an autoencoder whose pictures a discriminator judges, and whose likeness is measured by what it sees.

Larsen et al. 2016 (arXiv:1512.09300): the likelihood is a unit Gaussian of the discriminator's features, not of pixels,
so that a reconstruction need not be blurred where edges may lie here or there; the discriminator tells real examples
from reconstructions and from samples; the encoder learns from likeness and KL alone (algorithm 1 there). Unlike there,
reals are judged once beside each kind of fakes, so that pairs of losses that compare both hold, too, and gamma weighs
the encoder's loss as it does the decoder's, which Adam does not feel.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.precision import at_least_float32, sum_per_example
from genjax_art.losses.selection import top_share
from genjax_art.losses.variational import Gaussian, kl_gaussians
from genjax_art.models.heads import AroundGenerator
from genjax_art.models.precision import alike, as_in
from genjax_art.objectives import gan
from genjax_art.objectives.autoencoder import posterior_latents
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.method import Method, Weights
from genjax_art.objectives.rounds import G, Outputs, Round
from genjax_art.objectives.rules import DEFAULT, Rules
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Keys, Label

E = "encoder"
Terms = tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likeness: float = 0.1,
    beta: float = 1.0,
    rules: Rules = DEFAULT,
) -> Method:
    """The players `discriminator` and `generator` of a GAN; the generator has an encoder, too.

    Args:
      networks: as of `objectives/gan.py`, and `encoder`(x, label, train) -> mu, logvar [b, latents], which computes in
        the generator's precision.
      likeness: weight of the autoencoder's bound beside the adversarial loss, gamma in the paper.
      beta: weight of the KL in that bound; 1 in the paper.
      rules: as of `objectives/gan.py`, without packs.

    Metrics, beside those of a GAN: of the discriminator `reconstruction_probability`, its mean D(G(z)) for z ~ q(z|x);
    of the generator in nats `reconstruction`, of the features, and `kl`, and `squared_error`, of pixels in their range.

    Raises:
      UsageError: networks without an encoder, or with one of another precision; a weight below 0; or as
        `objectives/gan.py`.
    """
    check_objective(0, likeness=likeness, beta=beta)
    if E not in networks:
        raise UsageError("objective vae_gan needs a model with an encoder, a generator and a discriminator: vae_dcgan")
    if not alike(networks[E], networks[G]):
        raise UsageError(
            "encoder and generator of vae_gan compute in one precision: give --precision the same for both"
        )
    generator = as_in(networks[G], Autoencoding(networks[G], networks[E]))
    of_generator = partial(generator_term, generator, rules, likeness, beta)
    of_discriminator = partial(discriminator_term, generator, rules)
    method = gan.play({**networks, G: generator}, spec, transforms, rules, (of_discriminator,), (of_generator,))

    def posterior_of(weights: Weights, x: Array, label: Array | None) -> Gaussian:
        label = label if generator.classes else None
        return posterior(generator, {"params": weights.params[G], **weights.extras[G]}, x, label, train=False)

    def encode(weights: Weights, x: Array, label: Array | None, keys: Keys | None) -> Array:
        return posterior_latents(posterior_of(weights, x, label), keys)

    return replace(method, encode=encode, abilities={**method.abilities, "posterior": posterior_of})


def discriminator_term(generator: nn.Module, rules: Rules, round: Round) -> Terms:
    """The adversarial loss once more, with reconstructions in place of samples."""
    assert round.of_real is not None
    made = round.make({"x": round.batch["x"], "noise": noise_of(round, generator.latents)})
    out = seen(round, made)
    metrics = {"reconstruction_probability": jnp.mean(jax.nn.sigmoid(out["logits"]))}
    return ADVERSARIAL[rules.loss].discriminator(round.of_real["logits"], out["logits"]), metrics


def generator_term(generator: nn.Module, rules: Rules, likeness: float, beta: float, round: Round) -> Terms:
    """The adversarial loss of reconstructions, and the weighted bound."""
    x = round.batch["x"]
    q = posterior(generator, {"params": round.own}, x, round.label, train=True)
    z = q.at(noise_of(round, generator.latents))
    made, kl = round.make(z), kl_gaussians(q)
    distance = half_squares(round.judge(x)["features"], round.judge(made)["features"])
    # what fools the discriminator must not move the encoder: section 3.2 of the paper
    out = seen(round, round.make(jax.lax.stop_gradient(z)))
    real = None if round.of_real is None else round.of_real["logits"]
    fooled = ADVERSARIAL[rules.loss].generator(out["logits"], real)
    if rules.top_k != 1.0:
        fooled = fooled * top_share(out["logits"], rules.at(rules.top_k, round.step))
    return fooled + likeness * (distance + beta * kl), {
        "reconstruction": jnp.mean(distance),
        "kl": jnp.mean(kl),
        "squared_error": jnp.mean(at_least_float32(made - x) ** 2),
    }


class Autoencoding(AroundGenerator):
    """A generator with an encoder, (x, label, train) -> mu, logvar [b, latents], that it owns."""

    encoder: nn.Module

    def __call__(
        self,
        z: Float[Array, "b z"] | Mapping[str, Float[Array, "b ..."]],
        label: Label | None = None,
        train: bool = True,
    ) -> Float[Array, "b *shape"]:
        """z decoded; of examples with standard normal numbers, {"x": [b, *shape], "noise": [b, z]}, reconstructions,
        from which the encoder does not learn."""
        if isinstance(z, Mapping):
            z = jax.lax.stop_gradient(Gaussian(*self.encode(z["x"], label, train)).at(z["noise"]))
        made: Any = self.network(z, label, train)
        if self.is_initializing():
            self.encode(made, label, train)
        return made

    def encode(
        self, x: Float[Array, "b *shape"], label: Label | None = None, train: bool = True
    ) -> tuple[Float[Array, "b z"], Float[Array, "b z"]]:
        found: Any = self.encoder(x, label, train)
        return found


def posterior(generator: nn.Module, variables: Any, x: Array, label: Array | None, *, train: bool) -> Gaussian:
    """q(z|x), mu and logvar [b, z]."""
    found: Any = generator.apply(variables, x, label, train=train, method="encode")
    return Gaussian(*found)


def noise_of(round: Round, latents: int) -> Float[Array, "b z"]:
    """That of q(z|x), the same for both players on shared latents."""
    return global_normal(fold(round.key, "posterior"), (len(round.batch["x"]), latents))


def seen(round: Round, made: Float[Array, "b *shape"]) -> Outputs:
    """What the judge makes of other fakes than the samples, augmented with draws of their own."""
    return round.judge(round.see(round.view(made, "reconstruction"), "reconstruction"))


def half_squares(x: Float[Array, "b d"], y: Float[Array, "b d"]) -> Float[Array, "b"]:
    """-log N(y | x, 1) of each row without its constant, nats."""
    return 0.5 * sum_per_example((at_least_float32(x) - at_least_float32(y)) ** 2)
