"""Blocks whose activations are computed again for the gradient: the same parameters and numbers, less memory."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough

from genjax_art import models
from genjax_art.losses.penalty import squared_gradient_norm
from genjax_art.spec import ArraySpec

SPEC = ArraySpec((8, 8, 3), classes=("a", "b"))
SMALL = {
    "r3gan": {"widths": (16,), "blocks": 1, "latents": 4, "conditional": True},
    "dcgan": {"width": 8, "latents": 4, "generator_norm": "batch", "conditional": True},
    "resnet": {"width": 8, "discriminator_width": 8, "latents": 4, "conditional": True},
}


def networks(model, **options):
    build = importlib.import_module(f"{models.__name__}.{model}").build
    return [build(SPEC, **{**SMALL[model], **options}, remat=remat) for remat in (False, True)]


def inputs(player, rows=4):
    shape = (rows, 4) if player == "generator" else (rows, *SPEC.shape)
    return jax.random.normal(jax.random.key(1), shape), jnp.arange(rows) % 2


def assert_same(one, other, rtol=0.0, atol=0.0):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol, atol)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("model", ["r3gan", "dcgan", *thorough("resnet")])
def test_parameters_outputs_and_statistics_are_the_same_bits(model, player):
    x, label = inputs(player)
    kept, again = (network[player] for network in networks(model))
    variables, twin = (jax.jit(net.init)(jax.random.key(0), x, label) for net in (kept, again))
    assert_same(variables, twin)
    results = [
        jax.jit(lambda v, net=net: net.apply(v, x, label, train=True, mutable=True))(variables) for net in (kept, again)
    ]
    assert_same(*results)


@pytest.mark.parametrize("model", ["r3gan", *thorough("resnet")])
def test_gradients_of_both_orders_are_the_same(model):
    """Of D's loss with R1, by the parameters: of the penalty it is the second order."""
    x, label = inputs("discriminator")
    found = []
    for nets in networks(model):
        net = nets["discriminator"]
        # blocks end in zeros at first: with these, all of them count
        variables = jax.tree.map(
            lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape),
            jax.jit(net.init)(jax.random.key(0), x, label),
        )
        extras = {name: value for name, value in variables.items() if name != "params"}

        def loss(params, net=net, extras=extras):
            critic = lambda x: net.apply({"params": params, **extras}, x, label, train=False)["logits"]  # noqa: E731
            return jnp.mean(critic(x) + squared_gradient_norm(critic, x))

        found.append(jax.jit(jax.value_and_grad(loss))(variables["params"]))
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(found[0][1])) > 0
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(found[0][1]))
    assert_same(*found, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.skipif(
    jax.version.__version_info__ < (0, 11),
    reason="XLA merges what is computed twice there, on CPU, and keeps it after all",
)
def test_it_takes_less_memory():
    x, label = inputs("discriminator", 64)
    sizes = []
    for nets in networks("r3gan", blocks=4):
        net = nets["discriminator"]
        variables = jax.eval_shape(net.init, jax.random.key(0), x, label)

        def loss(variables, net=net):
            return jnp.mean(net.apply(variables, x, label)["logits"])

        compiled = jax.jit(jax.grad(loss)).lower(variables).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 0.7 * sizes[0]
