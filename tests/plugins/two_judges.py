"""A GAN of clips in one file: one judge is given a random frame of each clip, the other whole clips."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.keys import fold
from genjax_art.models.layers import Conv
from genjax_art.objectives.gan import play_judges
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.rules import Rules
from genjax_art.shards import global_draw


class Generator(nn.Module):
    """Frames from a still content and a motion per frame."""

    shape: tuple[int, ...]
    classes: int = 0

    @nn.compact
    def __call__(self, z, label=None, train=True):
        frames, *frame = self.shape
        still = jnp.repeat(z["content"][:, None], frames, 1)
        h = nn.relu(nn.Dense(16)(jnp.concatenate([still, z["motion"]], -1)))
        return jnp.tanh(nn.Dense(frame[0] * frame[1] * frame[2])(h)).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Of any spatial rank: of frames and of clips."""

    @nn.compact
    def __call__(self, x, label=None, train=True):
        h = nn.leaky_relu(Conv(4, 3, 2)(x)).reshape(len(x), -1)
        return {"logits": nn.Dense(1)(h)[:, 0], "features": h}


def networks(spec):
    return {"generator": Generator(spec.shape), "frames": Discriminator(), "clips": Discriminator()}


def a_frame(x, key):
    """One random frame of each clip."""
    place = global_draw(jax.random.randint, key, (len(x),), 0, x.shape[1])
    return jnp.take_along_axis(x, place.reshape(-1, 1, 1, 1, 1), 1)[:, 0]


def build(networks, spec, transforms, *, gamma: float = 0.1):
    """The players `frames`, `clips` and `generator`.

    Args:
      gamma: weight of R1 on what either judge is given.
    """
    rules = Rules(penalties={"r1": gamma})
    judges = [
        Judge(networks["frames"], rules, "frames", view=a_frame),
        Judge(networks["clips"], Rules("hinge", penalties={"r1": gamma, "lecam": 0.1}), "clips"),
    ]

    def draw(normal, key, n):
        steps = spec.shape[0]
        return {"content": normal(fold(key, "content"), (n, 4)), "motion": normal(fold(key, "motion"), (n, steps, 2))}

    return play_judges(networks["generator"], judges, spec, transforms, draw=draw)


EXPERIMENT = Experiment(
    name="two-judges",
    data=Component("bouncing:build", {"clips": 24}),
    model=Component("two_judges:networks"),
    objective=Component("two_judges:build"),
    optimizers=dict.fromkeys(("frames", "clips", "generator"), Optimizer(1e-3)),
    run=RunOptions(batch_size=8, steps=2, log_every=1, sample_every=2, save_every=1),
    ema_half_life={"generator": 50.0},
)
