"""Losses with penalties, every architecture on every kind of array: finite steps that move; sizes by count."""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough

from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.penalty import PENALTIES
from genjax_art.models import dcgan, mlp, r3gan, resnet
from genjax_art.objectives import gan
from genjax_art.objectives.rules import NO_GENERATOR_PENALTIES, NO_PENALTIES, Rules
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SHAPES = {
    "image": ArraySpec((8, 8, 1)),
    "roll": ArraySpec((8, 12, 2), 0.0, 1.0, "roll"),
    "clip": ArraySpec((4, 6, 6, 1), kind="clip"),
}
SMALL = {
    "mlp": lambda spec: mlp.build(spec, latents=3, width=4),
    "dcgan": lambda spec: dcgan.build(spec, latents=3, width=4, kernel=3),
    "r3gan": lambda spec: r3gan.build(spec, latents=3, widths=(16,), blocks=1),
    "resnet": lambda spec: resnet.build(spec, latents=3, width=4, discriminator_width=4),
}
TRANSFORMS = {"discriminator": optax.sgd(0.01), "generator": optax.sgd(0.01)}


def start(method):
    params, extras = jax.jit(method.init)(jax.random.key(0))
    return create_state(method.players, params, extras)


def batch_for(spec, rows=8):
    x = np.random.default_rng(0).uniform(spec.low, spec.high, (rows, *spec.shape))
    return {"x": jnp.asarray(x, jnp.float32)}


def assert_finite_and_moved(before, after, metrics, names=("discriminator", "generator")):
    assert all(np.isfinite(value).all() for value in jax.tree.leaves((metrics, after.params)))
    for name in names:
        moved = [
            np.abs(a - b).max()
            for a, b in zip(jax.tree.leaves(before.params[name]), jax.tree.leaves(after.params[name]), strict=True)
        ]
        assert max(moved) > 0


def sampled(names, each):
    """Pairs of every loss with `each` of the names in turn, so that each name is met; other ones in each Python."""
    turns = itertools.islice(itertools.cycle(sorted(names)), sys.version_info.minor, None)
    return [(loss, next(turns)) for loss in ADVERSARIAL for _ in range(each)]


@pytest.mark.thorough
def test_losses_with_penalties():
    """One compiled function: a step with each of the 7 losses, an update of a player with a sample of the pairs."""
    spec = SHAPES["image"]
    networks, batch = SMALL["mlp"](spec), batch_for(spec)
    plain = {loss: gan.build(networks, spec, TRANSFORMS, rules=Rules(loss=loss)) for loss in ADVERSARIAL}
    pairs = {
        ("discriminator", "penalties"): sampled(NO_PENALTIES, 2),
        ("generator", "generator_penalties"): sampled(NO_GENERATOR_PENALTIES, 1),
    }
    penalised = {
        (player, loss, name): gan.build(networks, spec, TRANSFORMS, rules=Rules(loss=loss, **{option: {name: 0.1}}))
        for (player, option), some in pairs.items()
        for loss, name in some
    }
    assert {name for _, _, name in penalised} == {*NO_PENALTIES, *NO_GENERATOR_PENALTIES}

    @jax.jit
    def run(state, batch):
        def update(method, name):
            (player,) = (player for player in method.players if player.name == name)
            _, extras = jax.jit(method.init)(jax.random.key(0))  # with the memory that it needs
            return make_step((player,))(state.replace(extras=extras), batch)

        with_both = {loss: make_step(m.players)(state, batch) for loss, m in plain.items()}
        generator_alone = {loss: update(m, "generator") for loss, m in plain.items()}
        return with_both, generator_alone, {key: update(m, key[0]) for key, m in penalised.items()}

    state = start(plain["hinge"])
    with_both, generator_alone, penalties_too = run(state, batch)
    alone = {"discriminator": with_both, "generator": generator_alone}  # in a whole step D is the first to move
    for after, metrics in with_both.values():
        assert_finite_and_moved(state, after, metrics)
    for (player, loss, name), (held, paid) in penalties_too.items():
        free, metrics = alone[player][loss]
        assert_finite_and_moved(state, held, paid, (player,))
        extra = float(paid[f"{player}/loss"]) - float(metrics[f"{player}/loss"])
        assert extra == pytest.approx(0.1 * float(paid[f"{player}/{name}"]), abs=1e-5)
        both = (jax.tree.leaves(after.params[player]) for after in (free, held))
        apart = [np.abs(a - b).max() for a, b in zip(*both, strict=True)]
        assert max(apart) > 1e-8, name  # the penalty has a gradient


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("model", ["dcgan", *thorough("r3gan", "resnet")])
def test_every_architecture_steps_on_every_kind_of_array(model, kind):
    """With a loss that looks at reals and, where it has no statistics, penalties; some on eight devices."""
    spec = SHAPES[kind]
    paid = {"image": PENALTIES, "roll": ("wgan_gp",), "clip": ("r1", "r2")}[kind]
    penalties = {} if model == "resnet" else dict.fromkeys(paid, 0.1)
    method = gan.build(SMALL[model](spec), spec, TRANSFORMS, rules=Rules(loss="relativistic", penalties=penalties))
    state = start(method)
    found = {}
    for how in ("jit", "pmap") if (model, kind) in (("dcgan", "clip"), ("resnet", "roll")) else ("jit",):
        compiled = compile_step(make_step(method.players), how)
        after, metrics = compiled.step(compiled.put_state(state), compiled.put_batch(batch_for(spec)))
        found[how] = jax.device_get((after, metrics))
        assert_finite_and_moved(state, *found[how])
    if "pmap" in found:
        for a, b in zip(jax.tree.leaves(found["jit"]), jax.tree.leaves(found["pmap"]), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def size(networks, name, *inputs):
    variables = jax.eval_shape(lambda: networks[name].init(jax.random.key(0), *inputs))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


def sizes(networks, spec):
    latents = jnp.zeros((2, networks["generator"].latents))
    return size(networks, "generator", latents), size(networks, "discriminator", jnp.zeros((2, *spec.shape)))


def test_parameter_counts():
    grey, colour = ArraySpec((28, 28, 1)), ArraySpec((32, 32, 3))
    dense = [(100 + 1) * 256 + 257 * 256 + 257 * 784, 785 * 256 + 257 * 256 + 257]
    assert sizes(mlp.build(grey), grey) == tuple(dense)
    w, k = 128, 25
    generator = (100 + 1) * 7 * 7 * w + 2 * (k * w + 1) * w + (k * w + 1)
    discriminator = (k + 1) * w + 2 * (k * w + 1) * w + 4 * 4 * w + 1
    assert sizes(dcgan.build(grey), grey) == (generator, discriminator)
    # Huang et al. 2024, table 4: 20.73 M and 20.68 M on CIFAR-10, unconditional as in our count
    assert sizes(r3gan.build(colour, widths=(768,)), colour) == (20_732_160, 20_683_776)
    w, v = 256, 128  # Miyato et al. 2018, table 4
    up = 2 * 9 * w * w + w + (w + 1) * w + 4 * w  # two 3x3, 1x1, two norms
    generator = (128 + 1) * 16 * w + 3 * up + 2 * w + (9 * w + 1) * 3
    three = (9 * v + 1) * v
    discriminator = (9 * 3 + 1) * v + three + (3 + 1) * v + 2 * three + (v + 1) * v + 4 * three + v + 1
    assert sizes(resnet.build(colour), colour) == (generator, discriminator)


def test_spectral_norm_makes_every_layer_of_the_discriminator_a_contraction():
    """After some power iterations the last layer is a unit functional of the features."""
    spec = SHAPES["image"]
    network = SMALL["resnet"](spec)["discriminator"]
    x = jnp.asarray(batch_for(spec)["x"])
    variables = jax.jit(network.init)(jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: 5 * leaf, {"params": variables["params"]}) | {
        "spectral": variables["spectral"]
    }
    apply = jax.jit(lambda variables: network.apply(variables, x, mutable=["spectral"]))
    for _ in range(20):
        out, new = apply(variables)
        variables = {**variables, **new}
    (kernel,) = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if leaf.shape == (4, 1) and "kernel" in jax.tree_util.keystr(path)
    ]
    difference = out["logits"][0] - out["logits"][1]
    expected = (out["features"][0] - out["features"][1]) @ kernel[:, 0] / jnp.linalg.norm(kernel)
    assert float(difference) == pytest.approx(float(expected), rel=1e-4)
