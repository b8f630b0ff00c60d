"""The creative adversarial network: who learns from which term, against finite differences."""

import dataclasses

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold
from genjax_art.losses.creative import binary_style_ambiguity, label_cross_entropy, style_ambiguity
from genjax_art.models import mlp
from genjax_art.objectives import can, gan
from genjax_art.spec import ArraySpec

SPEC = ArraySpec((4, 4, 1), classes=("cubism", "fauvism", "rococo"))
NETWORKS = mlp.build(SPEC, latents=3, width=6, style_head=True)
TRANSFORMS = {"discriminator": optax.sgd(0.1), "generator": optax.sgd(0.1)}
KEY = jax.random.key(3)
BATCH = {
    "x": jax.random.uniform(jax.random.key(1), (5, 4, 4, 1), minval=-1, maxval=1),
    "label": jnp.array([0, 1, 2, 1, 0], jnp.int32),
}


def method(**options):
    return can.build(NETWORKS, SPEC, TRANSFORMS, **options)


PARAMS, EXTRAS = jax.jit(method().init)(KEY)


def loss_of(which, params, **options):
    player = next(p for p in method(**options).players if p.name == which)
    others = {name: value for name, value in params.items() if name != which}
    return jax.jit(player.loss)(params[which], others, EXTRAS, BATCH, KEY)


def gradient(which, **options):
    def loss(own):
        return loss_of(which, {**PARAMS, which: own}, **options)[0]

    return jax.jit(jax.grad(loss))(PARAMS[which])


def flat(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]


@pytest.mark.parametrize("form", ["softmax", "binary"])
def test_the_ambiguity_reaches_the_generator(form):
    """Its share of G's gradient equals the finite difference of the mean ambiguity of G's pictures."""
    with_term, without = (flat(gradient(gan.G, form=form, ambiguity=w)) for w in (2.0, 0.0))
    share = (with_term - without) / 2.0
    assert float(jnp.linalg.norm(share)) > 1e-3
    own, unflatten = jax.flatten_util.ravel_pytree(PARAMS[gan.G])
    direction = share / jnp.linalg.norm(share)

    def ambiguity(t):
        params = {**PARAMS, gan.G: unflatten(own + t * direction)}
        return float(loss_of(gan.G, params, form=form)[1][0]["style_ambiguity"])

    h = 1e-2
    assert (ambiguity(h) - ambiguity(-h)) / (2 * h) == pytest.approx(float(jnp.linalg.norm(share)), rel=0.02)


def test_no_gradient_of_the_ambiguity_in_the_discriminator():
    for a, b in zip(
        jax.tree.leaves(gradient(gan.D, ambiguity=7.0)), jax.tree.leaves(gradient(gan.D, ambiguity=0.0)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_the_style_head_learns_from_reals_only():
    """Its gradient is that of the cross-entropy on reals, whatever the generator makes."""

    def cross_entropy(own):
        style = NETWORKS[gan.D].apply({"params": own}, BATCH["x"], None)["style"]
        return jnp.mean(label_cross_entropy(style, BATCH["label"]))

    expected = jax.jit(jax.grad(cross_entropy))(PARAMS[gan.D])["style"]
    found = gradient(gan.D)["style"]
    for name in ("kernel", "bias"):
        assert float(jnp.abs(expected[name]).max()) > 1e-3
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_metrics_are_those_of_the_heads():
    _, (of_d, _) = loss_of(gan.D, PARAMS)
    style = NETWORKS[gan.D].apply({"params": PARAMS[gan.D]}, BATCH["x"], None)["style"]
    p = jax.nn.softmax(style)
    assert float(of_d["style_accuracy"]) == pytest.approx(float(np.mean(np.argmax(p, -1) == BATCH["label"])))
    entropy = float(jnp.mean(-jnp.sum(p * jnp.log(p), -1)) / jnp.log(3.0))
    assert float(of_d["style_entropy"]) == pytest.approx(entropy, rel=1e-5)


def test_without_weight_it_is_the_gan():
    plain = gan.build(NETWORKS, SPEC, TRANSFORMS)
    expected = plain.players[1].loss(PARAMS[gan.G], {gan.D: PARAMS[gan.D]}, EXTRAS, BATCH, KEY)[0]
    assert float(loss_of(gan.G, PARAMS, ambiguity=0.0)[0]) == pytest.approx(float(expected))


@pytest.mark.parametrize(("form", "function"), [("softmax", style_ambiguity), ("binary", binary_style_ambiguity)])
def test_the_generator_pays_for_the_ambiguity_of_its_form(form, function):
    z = jax.random.normal(fold(KEY, "latents"), (5, 3))
    made = NETWORKS[gan.G].apply({"params": PARAMS[gan.G]}, z, None)
    expected = float(jnp.mean(function(NETWORKS[gan.D].apply({"params": PARAMS[gan.D]}, made, None)["style"])))
    with_term, (metrics, _) = loss_of(gan.G, PARAMS, form=form, ambiguity=2.0)
    without, _ = loss_of(gan.G, PARAMS, form=form, ambiguity=0.0)
    assert float(metrics["style_ambiguity"]) == pytest.approx(expected, rel=1e-5)
    assert float(with_term - without) == pytest.approx(2 * expected, rel=1e-4)


def test_what_it_cannot_do_without():
    with pytest.raises(UsageError, match="style-head"):
        can.build(mlp.build(SPEC), SPEC, TRANSFORMS)
    with pytest.raises(RunError, match="two styles or more"):
        can.build(NETWORKS, dataclasses.replace(SPEC, classes=()), TRANSFORMS)
