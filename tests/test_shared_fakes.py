"""The two players of a GAN share the generator's pass over their latents: it is in the compiled step once."""

import re

import jax
import jax.numpy as jnp
import pytest

from genjax_art.build import build_plan
from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.run.training import initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.step import make_step

SPEC = ArraySpec((8, 8, 1), classes=("a", "b"))
PHASES = 4  # plain convolutions that make one transposed convolution of stride 2


def passes(generator_norm: str, shared: bool) -> float:
    """How often the compiled step computes the generator's first transposed convolution."""
    experiment = Experiment(
        name="test",
        model=Component(
            "dcgan", {"width": 8, "kernel": 4, "generator_norm": generator_norm, "conditional": True, "latents": 4}
        ),
        objective=Component("gan", {"shared_latents": shared}),
        optimizers={name: Optimizer(1e-3) for name in ("discriminator", "generator")},
        run=RunOptions(batch_size=4),
    )
    plan = build_plan(experiment, SPEC)
    batch = {"x": jnp.zeros((4, *SPEC.shape)), "label": jnp.zeros(4, jnp.int32)}
    text = jax.jit(make_step(plan.method.players)).lower(initial_state(plan), batch).compile().as_text()
    names = re.findall(r' convolution\(.*op_name="[^"]*/(jvp\(Generator\)|Generator)[^"]*ConvTranspose_0/', text)
    return len(names) / PHASES


@pytest.mark.parametrize("generator_norm", ["none", "batch"])
def test_the_generators_pass_is_computed_once(generator_norm):
    assert passes(generator_norm, shared=True) == 1
    assert passes(generator_norm, shared=False) == 2
