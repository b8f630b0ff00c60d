"""The variational autoencoder of music: an autoregressive decoder over tokens, trained by teacher forcing.

Minimises -log p(x|z) + w max(KL(q(z|x) || p(z)) - free bits, 0): Roberts et al. 2018
(arXiv:1803.05428), with their warm-up of the KL's weight w. Without free bits such a decoder learns to ignore z.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.keys import fold
from genjax_art.losses.variational import Gaussian, elbo_parts, kl_gaussians, kl_weight
from genjax_art.music.notes import PITCHES
from genjax_art.music.tokens import binary, in_range, roll_from_tokens, tokens_from_roll
from genjax_art.objectives.autoencoder import posterior_latents
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.method import Method, Weights, standard_normal
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Batch, Key, Keys, Params
from genjax_art.train.player import Player

VAE = "vae"
CLIMBS = 100  # steps of the search for z when a piece is continued; set by hand


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    beta: float = 1.0,
    free_bits: float = 48.0,
    kl_warmup_steps: int = 0,
    temperature: float = 0.0,
) -> Method:
    """The player `vae`, with the parameters `encoder` and `decoder`.

    Args:
      networks: `encoder`(roll) -> mu, logvar; `decoder`(z, roll) -> logits, and `decode`, as in `models/music_vae.py`.
      spec: of the data.
      transforms: the optimizer of `vae`.
      beta: weight of the KL term in the loss, after the warm-up.
      free_bits: KL in bits per piece that costs nothing in the loss.
      kl_warmup_steps: training steps over which the KL's weight rises linearly from 0 to `beta`; 0 is `beta` from the
        first step on.
      temperature: by which the logits of a token are divided when sampling: 1 samples from the model's distribution,
        0 takes the likeliest token.

    Metrics per example: `elbo`, `reconstruction` and `kl` in nats, whatever the weight; `note_accuracy`, the share of
    notes whose start is the likeliest token; `kl_weight`.

    Raises:
      UsageError: an option outside its range.
    """
    check_objective(0, beta=beta, free_bits=free_bits, kl_warmup_steps=kl_warmup_steps, temperature=temperature)
    model = _MusicAutoencoder(
        networks["encoder"], networks["decoder"], spec, beta, free_bits, kl_warmup_steps, temperature
    )
    return Method(
        players=(Player(VAE, model.loss, transforms[VAE]),),
        init=model.init,
        draw=standard_normal(model.decoder.latents),
        decode=model.decode,
        encode=model.encode,
        abilities={
            "posterior": model.posterior_of,
            "proceed": model.proceed,
            "token_logits": model.token_logits,
        },
    )


@dataclass(frozen=True)
class _MusicAutoencoder:
    """q(z|roll) and p(tokens|z) of the parameters `encoder` and `decoder`, with the options of `build`."""

    encoder: Any
    decoder: Any
    spec: ArraySpec
    beta: float
    free_bits: float
    kl_warmup_steps: int
    temperature: float

    def loss(self, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        del others
        tokens, roll = self.read(batch["x"])
        q = self.posterior(own, roll)
        z = q.at(global_normal(fold(key, "posterior"), q.mu.shape))
        logits = self.logits(own, z, roll)
        parts = elbo_parts(log_likelihood(logits, tokens), kl_gaussians(q))
        step = extras[VAE]["step"]
        weight = kl_weight(step, self.beta, self.kl_warmup_steps)
        paid = jnp.maximum(parts.kl - self.free_bits * math.log(2.0), 0.0)
        metrics = {
            "elbo": jnp.mean(parts.elbo),
            "reconstruction": jnp.mean(parts.reconstruction),
            "kl": jnp.mean(parts.kl),
            "note_accuracy": jnp.mean(note_accuracy(jnp.argmax(logits, -1).astype(jnp.int32), tokens)),
            "kl_weight": weight,
        }
        return jnp.mean(parts.reconstruction + weight * paid), (metrics, {**extras, VAE: {"step": step + 1}})

    def read(self, x: Array) -> tuple[Int[Array, "b t v"], Array]:
        """The tokens of music in the spec's range, and the roll that they stand for."""
        tokens = tokens_from_roll(binary(x, self.spec))
        return tokens, roll_from_tokens(tokens)

    def posterior(self, params: Params, roll: Array) -> Gaussian:
        return Gaussian(*self.encoder.apply({"params": params["encoder"]}, roll))

    def logits(self, params: Params, z: Float[Array, "b z"], roll: Array) -> Float[Array, "b t v k"]:
        """Of each token, given z and the steps of the roll before it."""
        return self.decoder.apply({"params": params["decoder"]}, z, roll)

    def init(self, key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        x, z = jnp.zeros((2, *self.spec.shape)), jnp.zeros((2, self.decoder.latents))
        params = {
            "encoder": self.encoder.init(fold(key, "encoder"), x)["params"],
            "decoder": self.decoder.init(fold(key, "decoder"), z, x)["params"],
        }
        return {VAE: params}, {VAE: {"step": jnp.zeros((), jnp.int32)}}

    def play(self, params: Params, z: Array, levels: Array | None, given: Array, known: Array) -> Array:
        """Music in the spec's range, its tokens those `given` at the `known` steps.

        A token is the quantile that `levels` names of its distribution; without `levels` the likeliest one.
        """
        temperature = 0.0 if levels is None else self.temperature
        levels = jnp.zeros(given.shape) if levels is None else levels
        settings = {"levels": levels, "given": given, "known": known, "temperature": temperature}
        tokens = self.decoder.apply({"params": params["decoder"]}, z, **settings, method="decode")
        return in_range(roll_from_tokens(tokens), self.spec)

    def decode(self, weights: Weights, z: Array, label: Any, keys: Keys | None) -> Array:
        del label
        steps, voices = self.spec.shape[0], self.spec.channels // 2
        levels = None if keys is None else jax.vmap(lambda key: jax.random.uniform(key, (steps, voices)))(keys)
        given = jnp.zeros((len(z), steps, voices), jnp.int32)
        return self.play(weights.params[VAE], z, levels, given, jnp.zeros((steps,), bool))

    def posterior_of(self, weights: Weights, x: Array, label: Any) -> Gaussian:
        del label
        return self.posterior(weights.params[VAE], self.read(x)[1])

    def encode(self, weights: Weights, x: Array, label: Any, keys: Keys | None) -> Array:
        return posterior_latents(self.posterior_of(weights, x, label), keys)

    def token_logits(self, weights: Weights, z: Array, x: Array) -> Float[Array, "b t v k"]:
        return self.logits(weights.params[VAE], z, self.read(x)[1])

    def proceed(self, weights: Weights, x: Array, given: int, key: Key) -> Array:
        """x with new music after its first `given` steps, from the likeliest z for those."""
        params = weights.params[VAE]
        tokens, roll = self.read(x)

        def surprise(z: Array) -> Array:
            logits = self.logits(params, z, roll)
            return jnp.sum(0.5 * jnp.sum(z**2, -1) - log_likelihood(logits[:, :given], tokens[:, :given]))

        z = descend(surprise, jax.random.normal(fold(key, "latents"), (len(x), self.decoder.latents)))
        levels = jax.random.uniform(fold(key, "levels"), tokens.shape)
        return self.play(params, z, levels, tokens, jnp.arange(tokens.shape[1]) < given)


def log_likelihood(logits: Float[Array, "b t v k"], tokens: Int[Array, "b t v"]) -> Float[Array, " b"]:
    """log p(tokens), nats, summed over steps and voices."""
    return -jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, tokens), (1, 2))


def note_accuracy(made: Int[Array, "b t v"], tokens: Int[Array, "b t v"]) -> Float[Array, " b"]:
    """Share of the notes of `tokens` that `made` starts at the same step in the same pitch; 1 without notes."""
    starts = tokens < PITCHES
    right = jnp.sum(starts & (made == tokens), (1, 2))
    count = jnp.sum(starts, (1, 2))
    return jnp.where(count == 0, 1.0, right / jnp.maximum(count, 1))


def descend(function: Any, z: Float[Array, "b z"]) -> Float[Array, "b z"]:
    """z after `CLIMBS` steps down the gradient of `function`(z) -> scalar, each row's of a length that falls to 0.

    The first length is a tenth of sqrt(latents), the typical norm of z under the prior; their sum is five such norms,
    so that a row can reach any typical z from any other.
    """
    lengths = 0.1 * jnp.sqrt(z.shape[-1]) * jnp.linspace(1.0, 0.0, CLIMBS)

    def body(z: Array, length: Array) -> tuple[Array, None]:
        gradient = jax.grad(function)(z)
        norm = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
        return z - length * gradient / jnp.maximum(norm, 1e-9), None

    return jax.lax.scan(body, z, lengths)[0]
