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

from genjax_art.keys import fold
from genjax_art.losses.variational import elbo_parts, free_bits, kl_gaussians, kl_per_dimension
from genjax_art.objectives.autoencoder import VAE, make_autoencoder
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.method import Method
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Batch, Key, Params


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likelihood: str = "bernoulli",
    beta: float = 1.0,
    minimum_kl: float = 0.0,
) -> Method:
    """The player `vae`, with parameters and networks as in `objectives/autoencoder.py`.

    Args:
      networks: `encoder` and `decoder`.
      spec: of the data.
      transforms: the optimizer of `vae`.
      likelihood: how the decoder's outputs are read as p(x|z): a name in `LIKELIHOODS`, bernoulli, gaussian or
        discretized_logistic.
      beta: weight of the KL term in the loss; 1 is the evidence lower bound (beta-VAE: Higgins et al. 2017).
      minimum_kl: free bits: KL in nats per latent number below which the loss does not press it further
        (arXiv:1606.04934); 0 turns that off.

    Metrics in nats per example: `elbo`, `reconstruction`, `kl`, whatever beta and free bits are.

    Raises:
      UsageError: an unknown likelihood, or an option below 0.
    """
    check_objective(0, beta=beta, minimum_kl=minimum_kl)
    model = make_autoencoder(networks, spec, likelihood)

    def loss(own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        del others
        x, label = batch["x"], batch.get("label")
        q = model.posterior(own, x, label, train=True)
        z = q.at(global_normal(fold(key, "posterior"), q.mu.shape))
        parts = elbo_parts(model.log_likelihood(own, z, x, label), kl_gaussians(q))
        paid = parts.kl if minimum_kl == 0 else free_bits(kl_per_dimension(q), minimum_kl)
        metrics = {
            "elbo": jnp.mean(parts.elbo),
            "reconstruction": jnp.mean(parts.reconstruction),
            "kl": jnp.mean(parts.kl),
        }
        return jnp.mean(parts.reconstruction + beta * paid), (metrics, extras)

    return model.method(loss, transforms[VAE])
