"""The variational autoencoder: one player that minimises -log p(x|z) + beta KL(q(z|x) || p(z)).

Kingma & Welling 2014 (arXiv:1312.6114); beta: Higgins et al. 2017; free bits: Kingma et al. 2016
(arXiv:1606.04934). The case study prints this loss with the wrong sign on the likelihood and a KL that is
not the one between posterior and prior; both are put right in `losses/variational.py`.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax

from genjax_art.errors import unknown
from genjax_art.losses.variational import LIKELIHOODS, elbo_parts, free_bits, kl_per_dimension
from genjax_art.objectives.method import Method
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Batch, Key, Params
from genjax_art.train.step import Player, fold

VAE = "vae"


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likelihood: str = "bernoulli",
    beta: float = 1.0,
    minimum_kl: float = 0.0,
) -> Method:
    """The player `vae`, with the parameters `encoder`, `decoder` and, for likelihoods with a scale, `log_scale`.

    Args:
      networks: `encoder`(x, label, train) -> mu, logvar; `decoder`(z, label, train) -> raw outputs, with fields
        `latents` and `classes` (0: unconditional).
      likelihood: a name in `LIKELIHOODS`, which reads the decoder's outputs.
      beta: weight of the KL.
      minimum_kl: free bits, in nats per latent number.

    Metrics in nats per example: `elbo`, `reconstruction`, `kl`, whatever beta and free bits are.

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
        x, label = batch["x"], batch["label"] if classes else None
        posterior: Any = encoder.apply({"params": own["encoder"]}, x, label, train=True)
        mu, logvar = posterior
        z = mu + jnp.exp(0.5 * logvar) * global_normal(fold(key, "posterior"), mu.shape)
        outputs: Any = decoder.apply({"params": own["decoder"]}, z, label, train=True)
        log_scale = own.get("log_scale", jnp.zeros(()))
        parts = elbo_parts(p_x.log_prob(outputs, x, log_scale, spec.low, spec.high), mu, logvar)
        paid = parts.kl if minimum_kl == 0 else free_bits(kl_per_dimension(mu, logvar), minimum_kl)
        metrics = {
            "elbo": jnp.mean(parts.elbo),
            "reconstruction": jnp.mean(parts.reconstruction),
            "kl": jnp.mean(parts.kl),
        }
        return jnp.mean(parts.reconstruction + beta * paid), (metrics, extras)

    def init(key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        label = jnp.zeros((2,), jnp.int32) if classes else None
        params = {
            "encoder": encoder.init(fold(key, "encoder"), jnp.zeros((2, *spec.shape)), label)["params"],
            "decoder": decoder.init(fold(key, "decoder"), jnp.zeros((2, decoder.latents)), label)["params"],
        }
        if p_x.has_scale:
            params["log_scale"] = jnp.zeros(())
        return {VAE: params}, {VAE: {}}

    def generate(params: Params, extras: Any, z: Any, label: Any) -> Any:
        del extras
        outputs: Any = decoder.apply({"params": params["decoder"]}, z, label if classes else None, train=False)
        return p_x.mean(outputs, spec.low, spec.high)

    def encode(params: Params, x: Any, label: Any) -> Any:
        return encoder.apply({"params": params["encoder"]}, x, label if classes else None, train=False)

    return Method(
        players=(Player(VAE, loss, transforms[VAE]),),
        init=init,
        generate=generate,
        sampled=VAE,
        latents=decoder.latents,
        classes=spec.classes if classes else (),
        encode=encode,
    )
