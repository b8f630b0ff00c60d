"""What the autoencoders of `vae.py` and `iwae.py` share: q(z|x), p(x|z), first parameters, sampling."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import unknown
from genjax_art.keys import fold
from genjax_art.losses.variational import LIKELIHOODS, Gaussian, Likelihood
from genjax_art.objectives.method import Method, Weights, standard_normal
from genjax_art.spec import ArraySpec, Key, Keys, Label, Params
from genjax_art.train.player import Loss, Player

VAE = "vae"


@dataclass(frozen=True)
class Autoencoder:
    """The parameters are `encoder`, `decoder` and, for likelihoods with a scale, `log_scale`.

    Labels are used where the networks are conditional.
    """

    encoder: Any  # (x, label, train) -> mu, logvar
    decoder: Any  # (z, label, train) -> raw outputs, with fields `latents` and `classes` (0: unconditional)
    p_x: Likelihood  # which reads the decoder's outputs
    spec: ArraySpec

    def posterior(self, params: Params, x: Float[Array, "b *shape"], label: Label | None, *, train: bool) -> Gaussian:
        """q(z|x), mu and logvar [b, z]."""
        return Gaussian(*self.encoder.apply({"params": params["encoder"]}, x, self._seen(label), train=train))

    def log_likelihood(
        self, params: Params, z: Float[Array, "b z"], x: Float[Array, "b *shape"], label: Label | None
    ) -> Float[Array, " b"]:
        """log p(x|z) in training, nats."""
        outputs = self.decoder.apply({"params": params["decoder"]}, z, self._seen(label), train=True)
        return self._log_prob(params, outputs, x)

    def log_likelihoods(
        self, params: Params, z: Float[Array, "b k z"], x: Float[Array, "b *shape"], label: Label | None
    ) -> Float[Array, "b k"]:
        """As `log_likelihood`, of k latents for each x, which is not repeated for them."""
        b, k = z.shape[:2]
        label = None if label is None else jnp.repeat(label, k, 0)
        outputs = self.decoder.apply({"params": params["decoder"]}, z.reshape(b * k, -1), self._seen(label), train=True)
        of_one = functools.partial(self._log_prob, params, x=x)
        return jax.vmap(of_one, in_axes=1, out_axes=1)(outputs.reshape(b, k, *outputs.shape[1:]))

    def _log_prob(self, params: Params, outputs: Array, x: Float[Array, "b *shape"]) -> Float[Array, " b"]:
        log_scale = params.get("log_scale", jnp.zeros(()))
        return self.p_x.log_prob(outputs, x, log_scale, self.spec.low, self.spec.high)

    def method(self, loss: Loss, transform: optax.GradientTransformation) -> Method:
        """The method of one player `vae` that minimises `loss`."""
        return Method(
            players=(Player(VAE, loss, transform),),
            init=self._init,
            draw=standard_normal(self.decoder.latents),
            decode=self._decode,
            encode=self._encode,
            classes=self.spec.classes if self.decoder.classes else (),
            abilities={"posterior": self._posterior},
        )

    def _init(self, key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        x, z = jnp.zeros((2, *self.spec.shape)), jnp.zeros((2, self.decoder.latents))
        label = self._seen(jnp.zeros((2,), jnp.int32))
        params = {
            "encoder": self.encoder.init(fold(key, "encoder"), x, label)["params"],
            "decoder": self.decoder.init(fold(key, "decoder"), z, label)["params"],
        }
        if self.p_x.has_scale:
            params["log_scale"] = jnp.zeros(())
        return {VAE: params}, {VAE: {}}

    def _decode(self, weights: Weights, z: Array, label: Array | None, keys: Keys | None) -> Array:
        del keys  # the mean of p(x|z): noise on pixels is not drawn
        params = weights.params[VAE]
        outputs = self.decoder.apply({"params": params["decoder"]}, z, self._seen(label), train=False)
        return self.p_x.mean(outputs, self.spec.low, self.spec.high)

    def _posterior(self, weights: Weights, x: Array, label: Array | None) -> Gaussian:
        return self.posterior(weights.params[VAE], x, label, train=False)

    def _encode(self, weights: Weights, x: Array, label: Array | None, keys: Keys | None) -> Array:
        return posterior_latents(self._posterior(weights, x, label), keys)

    def _seen(self, label: Array | None) -> Array | None:
        return label if self.decoder.classes else None


def posterior_latents(q: Gaussian, keys: Keys | None) -> Float[Array, "b *latent"]:
    """The mean of q(z|x), or a sample of it with one key for each example."""
    if keys is None:
        return q.mu
    return q.at(jax.vmap(lambda key: jax.random.normal(key, q.mu.shape[1:]))(keys))


def make_autoencoder(networks: Mapping[str, nn.Module], spec: ArraySpec, likelihood: str) -> Autoencoder:
    """The autoencoder of the networks `encoder` and `decoder` with a likelihood of `LIKELIHOODS`.

    Raises:
      UsageError: an unknown likelihood.
    """
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    return Autoencoder(networks["encoder"], networks["decoder"], LIKELIHOODS[likelihood], spec)
