"""Drawing from a run: the same command gives the same bytes, and every file tells where it comes from."""

import dataclasses
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from PIL import Image, ImageSequence
from small import gan_experiment, noise, noise_batch, shrink, vae_experiment

from genjax_art import load_run, sampling
from genjax_art.build import build_plan
from genjax_art.config import Component, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold
from genjax_art.latents import Spread, closed_walk, example_keys
from genjax_art.media.image import read_png_metadata
from genjax_art.objectives.method import Method, Weights, draw_labels, standard_normal
from genjax_art.run.training import initial_state, run
from genjax_art.spec import ArraySpec
from genjax_art.verbs import grid, walk
from genjax_art.verbs.output import Output

GREY = ArraySpec((8, 6, 1), classes=("round", "square", "other"))
EXPERIMENT = dataclasses.replace(
    with_run(gan_experiment(), steps=3, save_every=1, sample_every=0, keep_latest=1),
    model=Component("mlp", {"width": 8, "latents": 4, "conditional": True}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three steps of a conditional GAN with a moving average; checkpoint 2 is the best."""
    folder = tmp_path_factory.mktemp("sampling") / "run"
    scores = iter([3.0, 1.0, 2.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: next(scores))
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        assert run(build_plan(EXPERIMENT, GREY), noise(GREY, 20), folder, how="jit") == 0
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return load_run(folder)


def drawn(trained, *, truncation=None, temperature=1.0, **options):
    return trained.sample(**{"n": 6, "seed": 0, **options}, spread=Spread(temperature, truncation))


def test_the_same_command_gives_the_same_bytes(command, folder, tmp_path):
    for name in ("x.png", "x.npz", "x.gif"):
        files = [tmp_path / part / name for part in ("a", "b")]
        for file in files:
            ended = command("sample", folder, "--n", 5, "--seed", 3, "--out", file)
            assert (ended.status, ended.out.strip()) == (0, str(file)), ended.err
        assert files[0].read_bytes() == files[1].read_bytes()
    command("sample", folder, "--n", 5, "--seed", 4, "--out", tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "a" / "x.png").read_bytes()


def test_every_png_tells_where_it_comes_from(command, folder, trained, tmp_path):
    assert command("sample", folder, "--n", 3, "--seed", 7, "--out", tmp_path / "grid.png").status == 0
    found = read_png_metadata(tmp_path / "grid.png")
    digest = sampling.parameter_hash({**trained.state.params, **trained.state.ema})
    expected = {"preset": "tiny-gan", "step": "3", "seed": "7", "parameters": "ema", "parameter_hash": digest}
    assert expected.items() <= found.items()
    assert command("sample", folder, "--n", 3, "--raw", "--out", tmp_path / "singles").status == 0
    singles = [read_png_metadata(path) for path in sorted((tmp_path / "singles").iterdir())]
    assert [single["index"] for single in singles] == ["0", "1", "2"]
    assert {single["parameter_hash"] for single in singles} == {sampling.parameter_hash(trained.state.params)}
    assert {single["parameters"] for single in singles} == {"raw"}


def test_the_default_is_a_grid_in_the_run_folder(command, folder):
    ended = command("sample", folder, "--n", 2)
    assert ended.out.strip() == str(folder / "grid.png")
    (folder / "grid.png").unlink()


def test_arrays_are_the_samples(command, folder, trained, tmp_path):
    command("sample", folder, "--n", 5, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["x"], drawn(trained, n=5))
        assert arrays["x"].dtype == np.float32 and arrays["x"].shape == (5, *GREY.shape)
        assert (arrays["low"], arrays["high"], str(arrays["step"])) == (-1, 1, "3")
        labels = trained.labels(5)
        np.testing.assert_array_equal(arrays["label"], labels)
        assert arrays["classes"].tolist() == list(trained.method.classes)


def test_a_folder_gets_single_pictures_of_the_original_size(command, folder, trained, tmp_path):
    ended = command("sample", folder, "--n", 6, "--out", tmp_path / "singles")
    assert ended.out.splitlines()[-1] == "... 6 files"
    files = sorted((tmp_path / "singles").iterdir())
    assert [path.name for path in files] == [f"{i:05d}.png" for i in range(6)]
    pixels = np.asarray(Image.open(files[2])).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(pixels, drawn(trained)[2, ..., 0], atol=1 / 127)


def test_a_walk_is_a_film_that_loops(command, folder, tmp_path):
    ended = command("sample", folder, "walk", "--n", 2, "--out", tmp_path / "walk")
    assert ended.out.split() == [str(tmp_path / "walk.gif"), str(tmp_path / "walk.mp4")], ended.err
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.info["loop"] == 0  # for ever
        frames = [np.asarray(frame.convert("L"), np.float32) for frame in ImageSequence.Iterator(film)]
    steps = [np.abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert len(frames) > 12 and steps[-1] < 3 * np.median(steps)  # no jump at the seam
    assert (tmp_path / "walk.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_walk_passes_the_samples_and_keeps_to_its_class(trained, tmp_path):
    options = {"n": 3, "seed": 5, "label": "square", "truncation": 0.5}
    (walked,) = walk.draw(trained, Output(tmp_path / "walk.npz", named=True), **options)
    (samples,) = grid.draw(trained, Output(tmp_path / "grid.npz", named=True), **options)
    with np.load(walked) as film, np.load(samples) as stills:
        assert len(film["x"]) == 3 * trained.medium.frames and set(film["label"]) == {1}
        np.testing.assert_allclose(film["x"][:: trained.medium.frames], stills["x"], atol=1e-5)


def test_raw_parameters_and_their_average_differ(trained):
    raw, ema = (drawn(dataclasses.replace(trained, which=which)) for which in ("raw", "ema"))
    assert np.abs(raw - ema).max() > 1e-4
    np.testing.assert_array_equal(drawn(trained), ema)  # the default, where there is one
    without = dataclasses.replace(trained, state=trained.state.replace(ema={}))
    np.testing.assert_array_equal(drawn(without), raw)
    with pytest.raises(RunError, match="keeps no moving average; leave --ema out"):
        drawn(dataclasses.replace(without, which="ema"))


def test_truncated_latents_lie_within():
    key = jax.random.key(0)
    z = Spread(truncation=0.5).normal(key, (500, 4))
    assert 0.45 < np.abs(z).max() <= 0.5
    # the variance of a standard normal conditioned on [-t, t]: 1 - 2 t phi(t) / (2 Phi(t) - 1)
    assert np.var(z) == pytest.approx(0.0811, rel=0.1)
    assert np.abs(Spread().normal(key, (500, 4))).max() > 2.5
    np.testing.assert_allclose(Spread(0.5).normal(key, (5, 4)), 0.5 * Spread().normal(key, (5, 4)))
    for truncation in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--truncation must be positive"):
            Spread(truncation=truncation)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--temperature must be at least 0"):
            Spread(temperature)


def test_truncation_and_temperature_reach_the_samples(trained):
    spread = [drawn(trained, n=64, label="round", truncation=t).std(0).mean() for t in (0.1, 1.0, None)]
    assert spread[0] < 0.5 * spread[1] < spread[2]
    cold = drawn(trained, n=8, label="round", temperature=0.0)
    np.testing.assert_allclose(cold, np.broadcast_to(cold[:1], cold.shape), atol=1e-6)


def test_a_label_asks_for_its_class(trained):
    squares, others = drawn(trained, label="square"), drawn(trained, label="other")
    assert np.abs(squares - others).max() > 1e-3  # the same latents
    z = trained.draw(fold(jax.random.key(0), "latents"), 6)
    expected = trained.method.decode(trained.weights, jnp.asarray(z), jnp.full((6,), 1, jnp.int32), None)
    np.testing.assert_allclose(squares, expected, atol=1e-6)
    with pytest.raises(UsageError, match="unknown label 'blue'; known: other, round, square"):
        drawn(trained, label="blue")


def test_without_a_label_all_classes_have_their_turn():
    for n in (9, 10, 11):
        counts = np.bincount(draw_labels(jax.random.key(n), n, 3), minlength=3)
        assert counts.sum() == n and counts.max() - counts.min() <= 1
    assert not np.array_equal(draw_labels(jax.random.key(0), 9, 3), np.arange(9) % 3)


def test_pieces_change_nothing(trained, monkeypatch):
    whole = drawn(trained, n=11)
    monkeypatch.setattr("genjax_art.sampling.CHUNK", 4)  # two pieces and a filled-up one
    np.testing.assert_allclose(drawn(trained, n=11), whole, atol=1e-6)


def test_more_samples_begin_with_the_same_ones(trained):
    """Of one class: without a label the classes are dealt anew for every n."""
    few, many = drawn(trained, n=3, label="round"), drawn(trained, n=300, label="round")
    np.testing.assert_allclose(few, many[:3], atol=1e-6)


@pytest.mark.parametrize(("checkpoint", "step"), [("latest", 3), ("best", 2), ("2", 2), ("3", 3)])
def test_checkpoints_by_word_and_number(folder, checkpoint, step):
    assert load_run(folder, checkpoint).step == step


def test_checkpoint_of_the_command_line(command, folder, tmp_path):
    command("sample", folder, "--n", 2, "--checkpoint", "best", "--out", tmp_path / "x.png")
    assert read_png_metadata(tmp_path / "x.png")["step"] == "2"


def test_the_hash_sees_names_shapes_types_and_values():
    params = {"a": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    w = params["a"]["w"]
    others = [{"b": {"w": w}}, {"a": {"w": w.reshape(3, 2)}}, {"a": {"w": w.view(np.int32)}}, {"a": {"w": -w}}]
    hashes = {sampling.parameter_hash(p) for p in (params, *others)}
    assert len(hashes) == 5
    assert sampling.parameter_hash({"a": {"w": jnp.asarray(w)}}) == sampling.parameter_hash(params)
    assert all(len(h) == 12 and int(h, 16) >= 0 for h in hashes)


@pytest.mark.parametrize("labels", [[7, 0, 1], [0, 1], [-1, 0, 1], [0, 1, 0, 1]])
def test_labels_that_do_not_fit_are_refused(labels):
    method = Method((), lambda key: ({}, {}), standard_normal(4), lambda weights, z, label, keys: z, classes=("a", "b"))
    with pytest.raises(UsageError, match=r"labels for 3 examples, or not from 0 to 1"):
        sampling.labels_for(method, 3, 0, np.array(labels))
    np.testing.assert_array_equal(sampling.labels_for(method, 3, 0, np.array([1, 0, 1])), [1, 0, 1])


def test_an_unconditional_run_has_no_labels():
    method = Method((), lambda key: ({}, {}), standard_normal(4), lambda weights, z, label, keys: z)
    assert sampling.labels_for(method, 3, 0) is None
    with pytest.raises(RunError, match="'cat' asked of a run that is not conditional"):
        sampling.labels_for(method, 3, 0, "cat")


def toy(decode):
    """A method with two levels of latents, the second given the first, as no model of ours has them."""

    def draw(weights, key, n, label, spread):
        top = spread.normal(fold(key, "top"), (n, 2))
        return {"top": top, "below": top[:, :, None] + spread.normal(fold(key, "below"), (n, 2, 3))}

    return Method((), lambda key: ({}, {}), draw, decode)


def test_latents_may_be_a_tree_and_decoders_may_draw(monkeypatch):
    def decode(weights, z, label, keys):
        noise = 0.0 if keys is None else jax.vmap(lambda key: jax.random.normal(key, (2, 3)))(keys)
        return z["below"] * z["top"][:, :, None] + noise

    method, weights = toy(decode), Weights({}, {})
    x = sampling.sample(method, weights, n=9, seed=0)
    z = sampling.draw(method, weights, fold(jax.random.key(0), "latents"), 9)
    likeliest = sampling.decode(method, weights, z)
    assert x.shape == (9, 2, 3) and np.abs(x - likeliest).min() > 0
    monkeypatch.setattr("genjax_art.sampling.CHUNK", 4)
    np.testing.assert_allclose(sampling.sample(method, weights, n=9, seed=0), x, atol=1e-6)
    np.testing.assert_allclose(sampling.sample(method, weights, n=300, seed=0)[:9], x, atol=1e-6)
    way = closed_walk(z, 18)
    np.testing.assert_allclose(sampling.decode(method, weights, way)[::2], likeliest, atol=1e-5)


@pytest.mark.parametrize("model", ["mlp_vae", *thorough("conv_vae")])
def test_a_conditional_vae_encodes_with_the_labels(model):
    experiment = dataclasses.replace(vae_experiment(), model=Component(model, {"latents": 3, "conditional": True}))
    plan = build_plan(shrink(experiment), GREY)
    weights, _ = sampling.weights_of(initial_state(plan))
    x, labels = noise_batch(GREY, 6)["x"], np.arange(6, dtype=np.int32) % 3
    mean = sampling.encode(plan.method, weights, x, labels)
    assert mean.shape == (6, 3) and np.isfinite(mean).all()
    assert (mean != sampling.encode(plan.method, weights, x, (labels + 1) % 3)).any(1).all()
    q = plan.method.abilities["posterior"](weights, jnp.asarray(x), jnp.asarray(labels))
    np.testing.assert_allclose(q.mu, mean, atol=1e-5)
    keys = example_keys(jax.random.key(0), 6)
    drawn = plan.method.encode(weights, jnp.asarray(x), jnp.asarray(labels), keys)
    noise_drawn = (drawn - q.mu) / np.exp(0.5 * q.logvar)
    np.testing.assert_allclose(noise_drawn[0], jax.random.normal(keys[0], (3,)), rtol=1e-3)


def test_a_typed_label_finds_the_class_that_looks_so():
    nfc, nfd = "\u00e9t\u00e9", "e\u0301te\u0301"
    assert sampling.find_label(nfc, ("a", nfd)) == nfd and sampling.find_label(nfd, (nfc, "a")) == nfc
    assert sampling.find_label(nfc, (nfd, nfc)) == nfc  # the very one first
    assert sampling.find_label(" big DOGS", ("Cats", "Big dogs")) == "Big dogs"
    assert sampling.find_label("cat", ("Cat", "cat")) == "cat"
    with pytest.raises(UsageError, match="unknown label 'CAT'; known: Cat, cat"):
        sampling.find_label("CAT", ("Cat", "cat", "dog"))
    with pytest.raises(UsageError, match="unknown label 'ca'; known: Cat, dog"):
        sampling.find_label("ca", ("Cat", "dog"))


def test_seeds_beyond_32_bits_are_refused(trained):
    """Their keys would be those of others."""
    for seed in (2**31, 2**64, -(2**31) - 1):
        with pytest.raises(UsageError, match="--seed must be below 2147483648"):
            trained.sample(1, seed=seed)


def test_a_class_may_be_named_by_its_number(trained):
    np.testing.assert_array_equal(trained.sample(3, label=1), trained.sample(3, label="square"))
    for wrong in (-1, 3):
        with pytest.raises(UsageError, match="not from 0 to 2"):
            trained.labels(2, label=wrong)


def test_another_kind_of_parameters_is_refused(trained):
    other = inspect.unwrap(sampling.weights_of)  # as users have it, whose types nobody checks
    with pytest.raises(UsageError, match="kind of parameters 'mean'; known: default, ema, raw"):
        other(trained.state, "mean")


def test_samples_of_a_new_number_are_four_programs(trained, monkeypatch, caplog):
    """No further small ones: on an accelerator each takes a part of a second."""
    monkeypatch.setattr(sampling, "CHUNK", 5)
    jax.clear_caches()  # of what other tests drew
    with jax.log_compiles(), caplog.at_level("WARNING"):
        drawn(trained, n=1)
        caplog.clear()
        drawn(trained, n=11)
    found = [re.search(r"Finished XLA compilation of jit\((.*?)\)", text) for text in caplog.messages]
    assert sorted(name[1] for name in found if name) == ["decode", "draw_labels", "draw_latents", "example_keys"]
