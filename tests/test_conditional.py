"""A conditional discriminator learns its label: reals with their own label look more real than with another one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from small import gan_experiment, shrink

from genjax_art import models, parts
from genjax_art.build import build_plan
from genjax_art.config import Component, Optimizer
from genjax_art.run.training import initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.step import make_step

SPEC = ArraySpec((8, 8, 1), classes=("dark", "light"))
STEPS, ROWS, RATE = 40, 32, Optimizer(5e-3)


def conditional_models():
    options = {name: parts.options(parts.find(models, name, kind="model")) for name in parts.names(models)}
    return [name for name, known in options.items() if {"conditional", "style_head"} <= set(known)]  # those of GANs


LARGE = ("r3gan", "resnet")


def batch_of(seed):
    """Noise about -0.5 or 0.5, by label."""
    label = np.arange(ROWS, dtype=np.int32) % 2
    noise = np.random.default_rng(seed).normal(0, 0.1, (ROWS, *SPEC.shape))
    return {"x": ((label - 0.5).reshape(-1, 1, 1, 1) + noise).astype(np.float32), "label": label}


@pytest.mark.parametrize("name", [name for name in conditional_models() if name not in LARGE] + thorough(*LARGE))
def test_a_trained_discriminator_prefers_the_right_label(name):
    experiment = dataclasses.replace(gan_experiment(), model=Component(name, {"conditional": True}))
    experiment = dataclasses.replace(shrink(experiment), optimizers=dict.fromkeys(experiment.optimizers, RATE))
    plan = build_plan(experiment, SPEC)
    state, step = initial_state(plan), jax.jit(make_step(plan.method.players[:1]))  # against the first generator
    for seed in range(STEPS):
        state, _ = step(state, batch_of(seed))
    discriminator = parts.find(models, name, kind="model")(SPEC, **experiment.model.options)["discriminator"]
    variables = {"params": state.params["discriminator"], **state.extras["discriminator"]}
    batch = batch_of(STEPS)
    right, wrong = (
        discriminator.apply(variables, jnp.asarray(batch["x"]), jnp.asarray(label), train=False)["logits"]
        for label in (batch["label"], 1 - batch["label"])
    )
    assert np.mean(np.asarray(right > wrong)) > 0.9
