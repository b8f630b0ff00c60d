"""A two-level VAE in one file: p(x|z1) p(z1|z2) p(z2), q(z1|x) q(z2|z1), with codes of a learned conditional prior."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.keys import fold
from genjax_art.losses.variational import LIKELIHOODS, Gaussian, elbo_parts, kl_gaussians
from genjax_art.objectives.autoencoder import posterior_latents
from genjax_art.objectives.method import Method
from genjax_art.shards import global_normal
from genjax_art.train.player import Player


class ToGaussian(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        h = nn.tanh(nn.Dense(16)(x.reshape(len(x), -1)))
        return Gaussian(nn.Dense(self.width)(h), nn.Dense(self.width)(h))


def networks(spec, *, upper: int = 2, lower: int = 3):
    """Of the data's arrays.

    Args:
      upper: latents of the upper level.
      lower: latents of the lower level.
    """
    return {"q1": ToGaussian(lower), "q2": ToGaussian(upper), "p1": ToGaussian(lower), "out": nn.Dense(spec.size)}


def build(networks, spec, transforms):
    q1, q2, p1, out = (networks[name] for name in ("q1", "q2", "p1", "out"))
    p_x = LIKELIHOODS["bernoulli"]

    def apply(network, params, name, x):
        return network.apply({"params": params[name]}, x)

    def init(key):
        inputs = {"q1": jnp.zeros((2, *spec.shape)), "q2": jnp.zeros((2, q1.width)), "p1": jnp.zeros((2, q2.width))}
        inputs["out"] = inputs["q2"]
        params = {name: networks[name].init(fold(key, name), x)["params"] for name, x in inputs.items()}
        return {"vae": params}, {"vae": {}}

    def loss(own, others, extras, batch, key):
        posterior = apply(q1, own, "q1", batch["x"])
        z1 = posterior.at(global_normal(fold(key, "z1"), posterior.mu.shape))
        above = apply(q2, own, "q2", z1)
        z2 = above.at(global_normal(fold(key, "z2"), above.mu.shape))
        prior = apply(p1, own, "p1", z2)
        outputs = apply(out, own, "out", z1).reshape(batch["x"].shape)
        likelihood = p_x.log_prob(outputs, batch["x"], jnp.zeros(()), spec.low, spec.high)
        parts = elbo_parts(likelihood, kl_gaussians(posterior, prior) + kl_gaussians(above))
        return -jnp.mean(parts.elbo), ({"elbo": jnp.mean(parts.elbo)}, extras)

    def draw(weights, key, n, label, spread):
        z2 = spread.normal(fold(key, "z2"), (n, q2.width))
        prior = apply(p1, weights.params["vae"], "p1", z2)
        return {"upper": z2, "lower": prior.at(spread.normal(fold(key, "z1"), prior.mu.shape))}

    def decode(weights, z, label, keys):
        outputs = apply(out, weights.params["vae"], "out", z["lower"]).reshape(-1, *spec.shape)
        return p_x.mean(outputs, spec.low, spec.high)

    def encode(weights, x, label, keys):
        params = weights.params["vae"]
        lower = posterior_latents(apply(q1, params, "q1", x), keys)
        own = None if keys is None else jax.vmap(lambda key: fold(key, "upper"))(keys)
        return {"upper": posterior_latents(apply(q2, params, "q2", lower), own), "lower": lower}

    return Method((Player("vae", loss, transforms["vae"]),), init, draw, decode, encode)


EXPERIMENT = Experiment(
    name="two-level-vae",
    model=Component("two_level_vae:networks"),
    objective=Component("two_level_vae:build"),
    optimizers={"vae": Optimizer(1e-3)},
    run=RunOptions(batch_size=8, steps=2, log_every=1, sample_every=2, save_every=1),
    ema_half_life={"vae": 50.0},
)
