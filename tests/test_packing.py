"""Packs at every rank, and what a discriminator makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from small import small_networks

from genjax_art.errors import UsageError
from genjax_art.models.packing import pack, unpack
from genjax_art.objectives import gan
from genjax_art.objectives.rules import Rules
from genjax_art.spec import ArraySpec

SHAPES = {"points": (6, 3), "roll": (6, 4, 5, 2), "clip": (6, 2, 3, 4, 1)}
TRANSFORMS = {"discriminator": optax.sgd(0.01), "generator": optax.sgd(0.01)}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_pack_holds_successive_examples_side_by_side(kind, m):
    x = jnp.asarray(np.random.default_rng(0).normal(size=SHAPES[kind]), jnp.float32)
    packs, channels = pack(x, m), x.shape[-1]
    assert packs.shape == (6 // m, *x.shape[1:-1], m * channels)
    for row in range(6):
        first = row % m * channels
        np.testing.assert_array_equal(packs[row // m, ..., first : first + channels], x[row])
    np.testing.assert_array_equal(unpack(packs, m), x)


def test_half_a_pack_is_refused():
    with pytest.raises(
        UsageError, match="packs of 4 need a multiple of that on each device and micro-batch, not 6 rows"
    ):
        pack(jnp.zeros((6, 2)), 4)


@pytest.mark.parametrize("model", ["mlp", "dcgan", *thorough("r3gan", "resnet")])
def test_any_discriminator_judges_packs(model):
    """Three examples a pack: its first layer has three times the channels, and its loss is that of packs."""
    spec = ArraySpec((8, 8, 1))
    networks = small_networks(model, spec)
    method = gan.build(networks, spec, TRANSFORMS, rules=Rules(packing=3, loss="wasserstein"))
    params, extras = jax.jit(method.init)(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (6, *spec.shape), minval=-1, maxval=1)

    @jax.jit
    def losses(params):
        (value, _), *_ = [method.players[0].loss(params["discriminator"], params, extras, {"x": x}, jax.random.key(2))]
        made = networks["generator"].apply(
            {"params": params["generator"], **extras["generator"]},
            jax.random.normal(gan.fold(jax.random.key(2), "latents"), (6, networks["generator"].latents)),
            train=True,
            mutable=list(extras["generator"]),
        )[0]
        both = jnp.concatenate([pack(x, 3), pack(made, 3)])
        variables = {"params": params["discriminator"], **extras["discriminator"]}
        out, _ = networks["discriminator"].apply(variables, both, mutable=list(extras["discriminator"]))
        return value, jnp.mean(out["logits"][2:]) - jnp.mean(out["logits"][:2])

    found, expected = losses(params)
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_a_pack_is_one_example_to_a_penalty():
    """R1 is the squared slope in all members of a pack together."""
    spec = ArraySpec((3,), kind="points", bounded=False)
    networks = small_networks("mlp", spec)
    method = gan.build(networks, spec, TRANSFORMS, rules=Rules(packing=2, penalties={"r1": 1.0}))
    params, extras = jax.jit(method.init)(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 3))
    _, (metrics, _) = method.players[0].loss(params["discriminator"], params, extras, {"x": x}, jax.random.key(2))

    def logit(pair):
        return networks["discriminator"].apply({"params": params["discriminator"]}, pair[None])["logits"][0]

    slopes = [jax.grad(logit)(x[i : i + 2].reshape(6)) for i in (0, 2)]
    assert float(metrics["r1"]) == pytest.approx(float(np.mean([np.sum(slope**2) for slope in slopes])), rel=1e-4)


def test_packs_have_no_label():
    spec = ArraySpec((3,), kind="points", classes=("a", "b"), bounded=False)
    with pytest.raises(UsageError, match="packs have no label"):
        gan.build(small_networks("mlp", spec, conditional=True), spec, TRANSFORMS, rules=Rules(packing=2))
