"""The importance weighted autoencoder: a tighter bound from k samples of the posterior.

Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519). At k = 1 it is the VAE.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax_art.keys import fold
from genjax_art.losses.variational import Gaussian, importance_weighted_bound
from genjax_art.objectives.autoencoder import VAE, make_autoencoder
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.method import Method
from genjax_art.shards import global_draw
from genjax_art.spec import ArraySpec, Batch, Key, Params


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likelihood: str = "bernoulli",
    samples: int = 50,
) -> Method:
    """The player `vae`, as in `objectives/vae.py`, minimising minus the bound.

    Args:
      networks: `encoder` and `decoder`.
      spec: of the data.
      transforms: the optimizer of `vae`.
      likelihood: how the decoder's outputs are read as p(x|z): a name in `LIKELIHOODS`, bernoulli, gaussian or
        discretized_logistic.
      samples: how many samples of the posterior the bound averages for each example; time and memory grow with it.

    Metrics in nats per example: `bound`.

    Raises:
      UsageError: an unknown likelihood, or no sample.
    """
    check_objective(1, samples=samples)
    model = make_autoencoder(networks, spec, likelihood)

    def loss(own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        del others
        x, label, b = batch["x"], batch.get("label"), batch["x"].shape[0]
        q = model.posterior(own, x, label, train=True)
        # drawn batch first, so that every device gets its own examples' noise
        noise = global_draw(jax.random.normal, fold(key, "posterior"), (b, samples, q.mu.shape[-1]))
        z = Gaussian(q.mu[:, None], q.logvar[:, None]).at(noise)
        log_x = model.log_likelihoods(own, z, x, label)
        # log p(z) - log q(z|x): the constants cancel, and (z - mu) / sigma is the noise
        log_z = 0.5 * jnp.sum(noise**2 - z**2 + q.logvar[:, None], -1)
        bound = importance_weighted_bound((log_x + log_z).T)
        return -jnp.mean(bound), ({"bound": jnp.mean(bound)}, extras)

    return model.method(loss, transforms[VAE])
