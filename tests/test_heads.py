"""AC-GAN and InfoGAN: who learns what from the heads, against the losses by hand."""

import dataclasses

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from small import noise_batch, small_networks

from genjax_art import parts
from genjax_art.build import find_part
from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.models.heads import WithCodes, codes_of
from genjax_art.objectives import acgan, infogan
from genjax_art.objectives.method import Weights
from genjax_art.objectives.rounds import MEMORY
from genjax_art.objectives.rules import NO_PENALTIES, Rules
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

SPECS = {
    "image": ArraySpec((8, 8, 1), classes=("a", "b", "c")),
    "roll": ArraySpec((8, 12, 2), 0.0, 1.0, "roll", ("a", "b", "c")),
    "clip": ArraySpec((4, 6, 6, 1), kind="clip", classes=("a", "b", "c")),
}
SPEC = SPECS["image"]
SGD = {name: optax.sgd(0.01) for name in ("discriminator", "generator")}
KEY = jax.random.key(0)
BATCH = jax.tree.map(jnp.asarray, noise_batch(SPEC, 6))


def made(objective, model="mlp", spec=SPEC, **options):
    conditional = objective is acgan
    options = options if conditional else {"categories": 3, "continuous": 2, **options}
    networks = small_networks(model, spec, conditional=conditional, latents=8, width=4)
    return objective.build(networks, spec, SGD, **options), networks


def loss_of(method, which, params, extras):
    return method.players[which].loss(params[method.players[which].name], params, extras, BATCH, KEY)


def outputs(method, networks, params, z=None):
    """The discriminator's outputs for reals and fakes, by hand."""
    z = jax.random.normal(fold(KEY, "latents"), (6, 8)) if z is None else z
    label = BATCH["label"] if method.classes else None
    fake = method.decode(Weights(params, {"generator": {}}), z, label, None)
    inner, name = params["discriminator"]["network"], next(n for n in params["discriminator"] if n != "network")
    head = params["discriminator"][name]
    both = [networks["discriminator"].apply({"params": inner}, x, None)["features"] for x in (BATCH["x"], fake)]
    return [features @ head["kernel"] + head["bias"][None] for features in both]


def cross_entropy(logits, label):
    logits = np.asarray(logits, np.float64)
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(label)), label]


def test_both_players_of_acgan_pay_for_wrong_classes():
    method, networks = made(acgan, class_weight=3.0)
    free, _ = made(acgan, class_weight=0.0)
    params, extras = jax.jit(method.init)(KEY)
    of_real, of_fake = outputs(method, networks, params)
    real, fake = (np.mean(cross_entropy(logits, BATCH["label"])) for logits in (of_real, of_fake))
    for which, expected, accurate in ((0, real + fake, of_real), (1, fake, of_fake)):
        loss, (metrics, _) = loss_of(method, which, params, extras)
        assert float(loss - loss_of(free, which, params, extras)[0]) == pytest.approx(3 * expected, rel=1e-4)
        right = np.mean(np.argmax(accurate, -1) == BATCH["label"])
        assert float(metrics["class_accuracy"]) == pytest.approx(right)


def test_the_discriminator_of_acgan_is_not_shown_the_label():
    method, networks = made(acgan)
    params, _ = jax.jit(method.init)(KEY)
    assert set(params["discriminator"]) == {"network", "class"}
    plain = jax.jit(networks["discriminator"].init)(KEY, BATCH["x"], None)["params"]
    assert jax.tree.map(jnp.shape, params["discriminator"]["network"]) == jax.tree.map(jnp.shape, plain)


def test_codes_are_uniform_and_normal():
    z = jax.random.normal(KEY, (8192, 9))
    category, numbers = codes_of(z, 4, 2)
    np.testing.assert_allclose(np.bincount(category, minlength=4) / 8192, np.full(4, 0.25), atol=0.02)
    np.testing.assert_array_equal(numbers, z[:, 4:6])
    networks = small_networks("mlp", SPEC, latents=9)
    generator = WithCodes(networks["generator"], 4, 2)
    assert (generator.latents, generator.classes) == (9, 0)
    variables = jax.jit(generator.init)(KEY, z[:5])
    x, stretched = (generator.apply(variables, v) for v in (z[:5], z[:5].at[:, :4].multiply(3.0)))
    np.testing.assert_array_equal(x, stretched)  # only the largest counts
    assert np.abs(generator.apply(variables, z[:5].at[:, 0].set(99.0).at[:, 1].set(0.0)) - x).max() > 1e-4


def test_both_players_of_infogan_pay_for_codes_that_cannot_be_read():
    method, networks = made(infogan, categories=4, continuous=2, information=0.5)
    free, _ = made(infogan, categories=4, continuous=2, information=0.0)
    params, extras = jax.jit(method.init)(KEY)
    z = np.asarray(jax.random.normal(fold(KEY, "latents"), (6, 8)))
    found = np.asarray(outputs(method, networks, params)[1])
    squares = np.sum((found[:, 4:] - z[:, 4:6]) ** 2, -1)
    values = cross_entropy(found[:, :4], np.argmax(z[:, :4], -1)) + 0.5 * squares + np.log(2 * np.pi)
    entropy = np.log(4) + np.log(2 * np.pi) + 1
    for which in (0, 1):
        loss, (metrics, _) = loss_of(method, which, params, extras)
        assert float(loss - loss_of(free, which, params, extras)[0]) == pytest.approx(0.5 * values.mean(), rel=1e-4)
        assert float(metrics["information"]) == pytest.approx(entropy - values.mean(), rel=1e-4)


def test_the_information_reaches_the_generator():
    """Along its gradient the metric falls and rises as the difference says."""
    methods = [made(infogan, categories=3, continuous=1, information=weight)[0] for weight in (1.0, 0.0)]
    params, extras = jax.jit(methods[0].init)(KEY)
    own, unflatten = jax.flatten_util.ravel_pytree(params["generator"])

    def loss(method, t=0.0, along=0.0):
        moved = unflatten(own + t * along)
        value, (metrics, _) = method.players[1].loss(moved, params, extras, BATCH, KEY)
        return value, metrics["information"]

    slopes = [
        jax.grad(lambda v, m=m: m.players[1].loss(unflatten(v), params, extras, BATCH, KEY)[0])(own) for m in methods
    ]
    share = slopes[0] - slopes[1]
    norm = float(jnp.linalg.norm(share))
    assert norm > 1e-3
    ahead, behind = (float(loss(methods[0], t, share / norm)[1]) for t in (1e-2, -1e-2))
    assert (behind - ahead) / 2e-2 == pytest.approx(norm, rel=0.03)


@pytest.mark.parametrize("scale", [1e4, *thorough(0.0)])
@pytest.mark.parametrize("objective", [acgan, infogan])
def test_heads_are_finite_at_extreme_weights(objective, scale):
    method, _ = made(objective)
    params, extras = jax.jit(method.init)(KEY)
    params = jax.tree.map(lambda leaf: scale * leaf, params)
    for which in (0, 1):

        def loss(own, which=which):
            return method.players[which].loss(own, params, extras, BATCH, KEY)[0]

        value, slope = jax.value_and_grad(loss)(params[method.players[which].name])
        assert np.isfinite(value) and np.isfinite(jax.flatten_util.ravel_pytree(slope)[0]).all()


@pytest.mark.parametrize(("objective", "kind"), [(acgan, "roll"), *thorough((infogan, "clip"))])
def test_heads_step_alike_on_one_device_and_on_eight(objective, kind):
    method, _ = made(objective, "dcgan", SPECS[kind])
    found = {}
    for how in ("jit", "pmap"):
        compiled = compile_step(make_step(method.players), how)
        state = compiled.put_state(create_state(method.players, *jax.jit(method.init)(KEY)))
        found[how] = jax.device_get(compiled.step(state, compiled.put_batch(noise_batch(SPECS[kind], 8))))
    for a, b in zip(jax.tree.leaves(found["jit"]), jax.tree.leaves(found["pmap"]), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_what_the_heads_cannot_do_without():
    with pytest.raises(UsageError, match=r"use --model\.conditional"):
        acgan.build(small_networks("mlp", SPEC), SPEC, SGD)
    with pytest.raises(UsageError, match="codes must be among the 8 latents, got 8 and 1"):
        made(infogan, categories=8, continuous=1)
    with pytest.raises(UsageError, match="finds its own categories"):
        infogan.build(small_networks("mlp", SPEC, conditional=True), SPEC, SGD, categories=2)


def test_heads_go_with_every_rule_but_packs():
    """The rules reach the game of either: with a penalty, an adaptive augmentation and top-k the metrics tell."""
    rules = Rules(penalties={"lecam": 0.3}, augmentations=("cutout",), augmentation_policy="adaptive", top_k=0.5)
    for objective in (acgan, infogan):
        method, _ = made(objective, rules=rules)
        params, extras = jax.jit(method.init)(KEY)
        metrics = loss_of(method, 0, params, extras)[1][0]
        assert {"lecam", "augmentation"} <= metrics.keys() and set(rules.first_memory()) <= set(extras[MEMORY])
        with pytest.raises(UsageError, match=r"packs (have no label|hold no single examples)"):
            made(objective, rules=Rules(packing=2))


def completed(name, options):
    return parts.complete(find_part("objective", name), "objective", name, options)


def test_the_rules_are_options_of_every_objective_that_plays_the_game():
    """By name on the command line, in the config and in presets; unknown ones and entries are refused with the list."""
    for name in ("gan", "can", "acgan", "infogan", "vae_gan"):
        filled = completed(name, {"penalties": {"r1": 0.5}, "top_k": (1.0, 0.5)})
        assert {field.name for field in dataclasses.fields(Rules)} <= filled.keys() and "rules" not in filled
        assert filled["penalties"] == {**NO_PENALTIES, "r1": 0.5} and filled["lazy"] == 1
        with pytest.raises(UsageError, match=f"option of objective {name} 'rules'"):
            completed(name, {"rules": {}})
        with pytest.raises(UsageError, match=f"unknown augmentation_policy of objective {name} 'never'; known: adapt"):
            completed(name, {"augmentation_policy": "never"})
