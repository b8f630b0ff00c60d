"""The importance weighted autoencoder: a tighter bound from k samples of the posterior.

Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519). At k = 1 it is the VAE.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax_art.errors import unknown
from genjax_art.losses.variational import LIKELIHOODS, importance_weighted_bound
from genjax_art.objectives import vae
from genjax_art.objectives.method import Method
from genjax_art.shards import global_draw
from genjax_art.spec import ArraySpec, Batch, Key, Params
from genjax_art.train.step import Player, fold


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likelihood: str = "bernoulli",
    samples: int = 50,
) -> Method:
    """The player `vae`, as in `objectives/vae.py`, minimising minus the bound of `samples` posterior samples.

    Metrics in nats per example: `bound`.

    Raises:
      UsageError: an unknown likelihood.
    """
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    p_x = LIKELIHOODS[likelihood]
    encoder, decoder = networks["encoder"], networks["decoder"]
    classes = decoder.classes

    def loss(own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        del others
        x, label, b = batch["x"], batch["label"] if classes else None, batch["x"].shape[0]
        posterior: Any = encoder.apply({"params": own["encoder"]}, x, label, train=True)
        mu, logvar = posterior
        # drawn batch first, so that every device gets its own examples' noise
        noise = global_draw(jax.random.normal, fold(key, "posterior"), (b, samples, mu.shape[-1]))
        z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * noise
        repeated = None if label is None else jnp.repeat(label, samples)
        outputs: Any = decoder.apply({"params": own["decoder"]}, z.reshape(b * samples, -1), repeated, train=True)
        log_scale = own.get("log_scale", jnp.zeros(()))
        log_x = p_x.log_prob(outputs, jnp.repeat(x, samples, 0), log_scale, spec.low, spec.high)
        # log p(z) - log q(z|x): the constants cancel, and (z - mu) / sigma is the noise
        log_z = 0.5 * jnp.sum(noise**2 - z**2 + logvar[:, None], -1)
        bound = importance_weighted_bound((log_x.reshape(b, samples) + log_z).T)
        return -jnp.mean(bound), ({"bound": jnp.mean(bound)}, extras)

    base = vae.build(networks, spec, transforms, likelihood=likelihood)
    return Method(
        players=(Player(vae.VAE, loss, transforms[vae.VAE]),),
        init=base.init,
        generate=base.generate,
        sampled=base.sampled,
        latents=base.latents,
        classes=base.classes,
        encode=base.encode,
    )
