"""VAE-GAN in one file, three players: Larsen et al. 2016 (arXiv:1512.09300), on the discriminator's features."""

import jax.numpy as jnp

from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.variational import Gaussian, gaussian, kl_gaussians
from genjax_art.models import mlp, mlp_vae
from genjax_art.objectives.autoencoder import posterior_latents
from genjax_art.objectives.method import Method, standard_normal
from genjax_art.shards import global_normal
from genjax_art.train.player import Player

LATENTS = 3


def networks(spec, *, width: int = 8, conditional: bool = True):
    """An encoder beside a generator and a discriminator.

    Args:
      width: of the hidden layers.
      conditional: show the labels to all three.
    """
    gan = mlp.build(spec, latents=LATENTS, width=width, conditional=conditional)
    return {"encoder": mlp_vae.build(spec, latents=LATENTS, width=width, conditional=conditional)["encoder"], **gan}


def build(networks, spec, transforms, *, likeness: float = 0.1):
    """The players `encoder`, `generator` and `discriminator`; adversarial: non-saturating.

    Args:
      likeness: weight of the likeness of features in the generator's loss.
    """
    game = ADVERSARIAL["non_saturating"]
    encoder, generator, discriminator = (networks[name] for name in ("encoder", "generator", "discriminator"))

    def seen(label):
        return label if generator.classes else None

    def init(key):
        label = seen(jnp.zeros((2,), jnp.int32))
        x = {"generator": jnp.zeros((2, LATENTS))}
        first = {
            name: networks[name].init(fold(key, name), x.get(name, jnp.zeros((2, *spec.shape))), label)["params"]
            for name in ("encoder", "generator", "discriminator")
        }
        return first, {name: {} for name in first}

    def views(all_params, batch, key):
        """Posterior, and what the discriminator gives for the data, their reconstructions and samples."""
        label = seen(batch.get("label"))
        q = Gaussian(*encoder.apply({"params": all_params["encoder"]}, batch["x"], label))
        noise = {name: global_normal(fold(key, name), q.mu.shape) for name in ("posterior", "prior")}

        def judged(x):
            return discriminator.apply({"params": all_params["discriminator"]}, x, label)

        def made(z):
            return judged(generator.apply({"params": all_params["generator"]}, z, label))

        return q, judged(batch["x"]), made(q.at(noise["posterior"])), made(noise["prior"])

    def likelihood(real, again):
        return gaussian(again["features"], real["features"], jnp.zeros(()))

    def encoder_loss(own, others, extras, batch, key):
        q, real, again, _ = views({**others, "encoder": own}, batch, key)
        kl = kl_gaussians(q)
        return jnp.mean(kl - likelihood(real, again)), ({"kl": jnp.mean(kl)}, extras)

    def generator_loss(own, others, extras, batch, key):
        _, real, again, fake = views({**others, "generator": own}, batch, key)
        fooled = game.generator(again["logits"]) + game.generator(fake["logits"])
        return jnp.mean(fooled - likeness * likelihood(real, again)), ({}, extras)

    def discriminator_loss(own, others, extras, batch, key):
        _, real, again, fake = views({**others, "discriminator": own}, batch, key)
        pairs = [game.discriminator(real["logits"], one["logits"]) for one in (again, fake)]
        return jnp.mean(sum(pairs)), ({}, extras)

    def decode(weights, z, label, keys):
        return generator.apply({"params": weights.params["generator"]}, z, seen(label), train=False)

    def encode(weights, x, label, keys):
        q = Gaussian(*encoder.apply({"params": weights.params["encoder"]}, x, seen(label), train=False))
        return posterior_latents(q, keys)

    losses = {"encoder": encoder_loss, "generator": generator_loss, "discriminator": discriminator_loss}
    players = tuple(Player(name, loss, transforms[name], stream="shared") for name, loss in losses.items())
    classes = spec.classes if generator.classes else ()
    return Method(players, init, standard_normal(LATENTS), decode, encode, classes)


EXPERIMENT = Experiment(
    name="vae-gan",
    model=Component("vae_gan:networks"),
    objective=Component("vae_gan:build"),
    optimizers=dict.fromkeys(("encoder", "generator", "discriminator"), Optimizer(1e-3)),
    run=RunOptions(batch_size=8, steps=2, log_every=1, sample_every=2, save_every=1),
    ema_half_life={"encoder": 50.0, "generator": 50.0},
)
