"""The players of a GAN share the generator's pass over their latents: it is in the compiled step once."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from helpers import thorough

from genjax_art.models import dcgan
from genjax_art.objectives import gan
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.rules import Rules
from genjax_art.spec import ArraySpec
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPEC = ArraySpec((8, 8, 1), classes=("a", "b"))
SGD = {name: optax.sgd(0.01) for name in ("discriminator", "small", "generator")}
PHASES = 4  # plain convolutions that make one transposed convolution of stride 2


def passes(method) -> float:
    """How often the compiled step computes the generator's first transposed convolution."""
    state = jax.eval_shape(lambda: create_state(method.players, *method.init(jax.random.key(0))))
    batch = {"x": jnp.zeros((4, *SPEC.shape)), "label": jnp.zeros(4, jnp.int32)}
    text = jax.jit(make_step(method.players)).lower(state, batch).compile().as_text()
    names = re.findall(r' convolution\(.*op_name="[^"]*/(jvp\(Generator\)|Generator)/[^"]*ConvTranspose_0/', text)
    return len(names) / PHASES


def networks(generator_norm: str = "none"):
    return dcgan.build(SPEC, width=8, kernel=4, generator_norm=generator_norm, conditional=True, latents=4)


@pytest.mark.parametrize("generator_norm", ["none", *thorough("batch")])
def test_the_generators_pass_is_computed_once(generator_norm):
    for shared, times in ((True, 1), (False, 2)):
        method = gan.build(networks(generator_norm), SPEC, SGD, rules=Rules(shared_latents=shared))
        assert passes(method) == times


@pytest.mark.thorough
def test_the_generators_pass_is_computed_once_for_all_judges():
    """Each of which is given something else of the fakes."""
    augmented = Rules(loss="hinge", augmentations=("translation",), penalties={"r1": 1.0, "r2": 1.0})
    judges = (
        Judge(networks()["discriminator"]),
        Judge(networks()["discriminator"], augmented, "small", lambda x, key: x[:, ::2, ::2]),
    )
    assert passes(gan.play_judges(networks()["generator"], judges, SPEC, SGD)) == 1
