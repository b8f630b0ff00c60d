"""A learned prior as a player, in one file: a VAE and a mixture of Gaussians that is fitted to its posterior's samples.

The VAE is trained as it is; the player `prior` maximises log p(z) of z from q(z|x), without a gradient to the VAE, and
is what latents are drawn from.
"""

import jax
import jax.numpy as jnp

from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.keys import fold
from genjax_art.losses.variational import Gaussian, gaussian
from genjax_art.objectives import vae
from genjax_art.objectives.method import Method
from genjax_art.shards import global_normal
from genjax_art.train.player import Player


def build(networks, spec, transforms, *, components: int = 3):
    """The players `vae` and `prior`.

    Args:
      components: of the mixture.
    """
    inner = vae.build(networks, spec, transforms)
    latents = networks["decoder"].latents

    def init(key):
        params, extras = inner.init(key)
        mu = jax.random.normal(fold(key, "prior"), (components, latents))
        prior = {"mu": mu, "log_scale": jnp.zeros((components, latents)), "logits": jnp.zeros(components)}
        return {**params, "prior": prior}, {**extras, "prior": {}}

    def log_prior(params, z):
        n = len(z)
        of_each = [
            gaussian(jnp.broadcast_to(mu, z.shape), z, jnp.broadcast_to(scale, z.shape))
            for mu, scale in zip(params["mu"], params["log_scale"], strict=True)
        ]
        weights = jnp.broadcast_to(jax.nn.log_softmax(params["logits"])[:, None], (components, n))
        return jax.nn.logsumexp(jnp.stack(of_each) + weights, axis=0)

    def prior_loss(own, others, extras, batch, key):
        x = batch["x"]
        q = Gaussian(*networks["encoder"].apply({"params": others["vae"]["encoder"]}, x, None, train=False))
        z = jax.lax.stop_gradient(q.at(global_normal(fold(key, "posterior"), q.mu.shape)))
        nats = -log_prior(own, z)
        return jnp.mean(nats), ({"nats": jnp.mean(nats)}, extras)

    def draw(weights, key, n, label, spread):
        prior = weights.params["prior"]
        which = jax.random.categorical(fold(key, "component"), prior["logits"], shape=(n,))
        noise = spread.normal(fold(key, "noise"), (n, latents))
        return prior["mu"][which] + jnp.exp(prior["log_scale"][which]) * noise

    def between(a, b, t):
        """Straight lines: the prior is no standard normal."""
        return a + (b - a) * t.reshape(-1, 1).astype(a.dtype)

    players = (*inner.players, Player("prior", prior_loss, transforms["prior"]))
    abilities = {**inner.abilities, "between": between}
    return Method(players, init, draw, inner.decode, inner.encode, inner.classes, abilities)


EXPERIMENT = Experiment(
    name="learned-prior",
    model=Component("mlp_vae", {"latents": 3, "width": 8}),
    objective=Component("learned_prior:build"),
    optimizers={"vae": Optimizer(1e-3), "prior": Optimizer(0.1)},
    run=RunOptions(batch_size=8, steps=2, log_every=1, sample_every=2, save_every=1),
    ema_half_life={"vae": 50.0, "prior": 50.0},
)
