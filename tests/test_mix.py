"""Samples between classes: labels that are shares of the classes, and the verb that passes through them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_run
from small import gan_experiment, noise, shrink, smaller, spec_of

from genjax_art import load_run, models, parts
from genjax_art.build import build_plan, load_preset, preset_names
from genjax_art.config import Component, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.objectives.method import Weights
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.verbs import mix
from genjax_art.verbs.output import Output

SPEC = ArraySpec((8, 8, 1), classes=("thin", "bold", "wide"))
PRESETS = [load_preset(name) for name in preset_names()]


def conditional_models():
    known = {name: parts.options(parts.find(models, name, kind="model")) for name in parts.names(models)}
    return [name for name, options in known.items() if "conditional" in options]


def conditional(name):
    """A small method on that model, of three classes: that of a preset with it, or a plain GAN."""
    plain = dataclasses.replace(gan_experiment(), model=Component(name))
    found = next((e for e in PRESETS if e.model.name.replace("-", "_") == name), None)
    clip = dataclasses.replace(SPEC, shape=(8, 8, 8, 1), kind="clip")
    spec = smaller(spec_of(found.data)) if found else clip if "video" in name else SPEC
    small = shrink(found or plain)
    model = Component(name, {**small.model.options, "conditional": True})
    return build_plan(dataclasses.replace(small, model=model), dataclasses.replace(spec, classes=SPEC.classes)).method


@pytest.mark.parametrize("name", conditional_models())
def test_a_label_is_the_same_as_all_shares_for_its_class(name):
    method = conditional(name)
    weights = Weights(*jax.jit(method.init)(jax.random.key(0)))
    label = jnp.arange(3, dtype=jnp.int32)
    z = method.draw(weights, jax.random.key(1), 3, label, mix.Spread())
    decode = jax.jit(method.decode)
    hard = np.asarray(decode(weights, z, label, None))
    np.testing.assert_allclose(decode(weights, z, np.eye(3, dtype=np.float32), None), hard, atol=1e-5)
    between = np.asarray(decode(weights, z, np.full((3, 3), 1 / 3, np.float32), None))
    assert between.shape == hard.shape and np.isfinite(between).all() and np.abs(between - hard).max() > 1e-6


def test_shares_pass_through_the_classes_in_equal_steps():
    np.testing.assert_allclose(mix.passing(np.array([2, 0]), 3, 3), [[0, 0, 1], [0.5, 0, 0.5], [1, 0, 0]])
    np.testing.assert_allclose(mix.passing(np.array([0, 1, 2]), 5, 3)[:, 1], [0, 0.5, 1, 0.5, 0])
    for stages in (5, 7, 9):  # whatever the number, each class is to be seen
        shares = mix.passing(np.array([3, 0, 4, 1, 2]), stages, 5)
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
        assert [int(row.argmax()) for row in shares if row.max() == 1] == [3, 0, 4, 1, 2]
    np.testing.assert_allclose(mix.passing(np.array([1, 1]), 3, 2), [[0, 1]] * 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mix") / "run"
    experiment = gan_experiment(conditional=True, generator_norm="conditional_batch")
    plan = build_plan(with_run(experiment, steps=4, sample_every=0, save_every=4), SPEC)
    assert run(plan, noise(SPEC, 20), folder, how="jit") == 0
    return load_run(folder)


def test_rows_begin_and_end_with_the_classes_and_keep_their_latents(trained, tmp_path):
    (path,) = mix.draw(trained, Output(tmp_path / "m.npz", named=True), label=("wide", "thin"), stages=5, n=3, seed=4)
    with np.load(path) as found:
        table, mixed = found["x"].reshape(3, 5, *SPEC.shape), str(found["mixed"])
    assert mixed == "wide, thin"
    z = trained.draw(mix.fold(jax.random.key(4), "latents"), 3, np.full(3, 2, np.int32))
    for column, number in ((0, 2), (4, 0)):
        np.testing.assert_allclose(table[:, column], trained.decode(z, np.full(3, number, np.int32)), atol=1e-5)
    steps = np.abs(np.diff(table, axis=1)).max((0, 2, 3, 4))
    assert np.all(steps > 0) and steps.sum() < 4 * np.abs(table[:, 0] - table[:, 4]).max()  # no way around


def test_a_picture_has_a_row_for_each_sample(trained, tmp_path):
    from PIL import Image

    (path,) = mix.draw(trained, Output(tmp_path / "m.png", named=True), label=("thin", "bold", "wide"), stages=6, n=2)
    with Image.open(path) as picture:
        assert picture.width > 2.5 * picture.height


def test_mix_refuses_what_has_no_between(trained, tmp_path):
    out = Output(tmp_path / "m.png", named=True)
    with pytest.raises(UsageError, match=r"two classes or more, got thin alone: .*thin, bold, wide"):
        mix.draw(trained, out, label=("thin",))
    with pytest.raises(UsageError, match=r"--stages must be at least 2, .*got 1"):
        mix.draw(trained, out, label=("thin", "bold"), stages=1)
    with pytest.raises(UsageError, match=r"unknown label 'thinn'; known: bold, thin, wide"):
        mix.draw(trained, out, label=("thinn", "bold"))
    assert tiny_run.train(tmp_path / "plain") == 0
    with pytest.raises(RunError, match=r"knows no classes.*icons-gan"):
        mix.draw(load_run(tmp_path / "plain"), out, label=("thin", "bold"))
    assert not (tmp_path / "m.png").exists()
