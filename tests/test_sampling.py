"""Drawing from a run: the same command gives the same bytes, and every file tells where it comes from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence
from small import gan_experiment, noise

from genjax_art import drawing, sampling
from genjax_art.build import build_plan
from genjax_art.config import Component
from genjax_art.errors import RunError, UsageError
from genjax_art.media.image import read_png_metadata
from genjax_art.objectives.method import Method, draw_labels, draw_latents
from genjax_art.spec import ArraySpec
from genjax_art.training import run

GREY = ArraySpec((8, 6, 1), classes=("round", "square", "other"))
EXPERIMENT = dataclasses.replace(
    gan_experiment(),
    model=Component("mlp", {"width": 8, "latents": 4, "conditional": True}),
    steps=3,
    save_every=1,
    sample_every=0,
    keep_latest=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three steps of a conditional GAN with a moving average; checkpoint 2 is the best."""
    folder = tmp_path_factory.mktemp("sampling") / "run"
    scores = iter([3.0, 1.0, 2.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.training._scorer", lambda *_: lambda state: next(scores))
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        assert run(build_plan(EXPERIMENT, GREY), noise(GREY, 20), folder, how="jit") == 0
    return folder


@pytest.fixture(scope="module")
def plan():
    return build_plan(EXPERIMENT, GREY)


@pytest.fixture(scope="module")
def state(plan, folder):
    return drawing.load_state(plan, folder)


def drawn(plan, state, **options):
    return sampling.sample(plan.method, state, **{"n": 6, "seed": 0, **options})


def test_the_same_command_gives_the_same_bytes(command, folder, tmp_path):
    for name in ("x.png", "x.npz", "x.gif"):
        files = [tmp_path / part / name for part in ("a", "b")]
        for file in files:
            ended = command("sample", folder, "--n", 5, "--seed", 3, "--out", file)
            assert (ended.status, ended.out.strip()) == (0, str(file)), ended.err
        assert files[0].read_bytes() == files[1].read_bytes()
    command("sample", folder, "--n", 5, "--seed", 4, "--out", tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "a" / "x.png").read_bytes()


def test_every_png_tells_where_it_comes_from(command, folder, plan, state, tmp_path):
    assert command("sample", folder, "--n", 3, "--seed", 7, "--out", tmp_path / "grid.png").status == 0
    found = read_png_metadata(tmp_path / "grid.png")
    digest = sampling.parameter_hash(state.ema["generator"])
    expected = {"preset": "tiny-gan", "step": "3", "seed": "7", "parameters": "ema", "parameter_hash": digest}
    assert expected.items() <= found.items()
    assert command("sample", folder, "--n", 3, "--raw", "--out", tmp_path / "singles").status == 0
    singles = [read_png_metadata(path) for path in sorted((tmp_path / "singles").iterdir())]
    assert [single["index"] for single in singles] == ["0", "1", "2"]
    assert {single["parameter_hash"] for single in singles} == {sampling.parameter_hash(state.params["generator"])}
    assert {single["parameters"] for single in singles} == {"raw"}


def test_the_default_is_a_grid_in_the_run_folder(command, folder):
    ended = command("sample", folder, "--n", 2)
    assert ended.out.strip() == str(folder / "grid.png")
    (folder / "grid.png").unlink()


def test_arrays_are_the_samples(command, folder, plan, state, tmp_path):
    command("sample", folder, "--n", 5, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["x"], drawn(plan, state, n=5))
        assert arrays["x"].dtype == np.float32 and arrays["x"].shape == (5, *GREY.shape)
        assert (arrays["low"], arrays["high"], str(arrays["step"])) == (-1, 1, "3")
        labels = sampling.labels_for(plan.method, 5, 0)
        np.testing.assert_array_equal(arrays["label"], labels)
        assert arrays["classes"].tolist() == list(plan.method.classes)


def test_a_folder_gets_single_pictures_of_the_original_size(command, folder, plan, state, tmp_path):
    ended = command("sample", folder, "--n", 6, "--out", tmp_path / "singles")
    assert ended.out.splitlines()[-1] == "... 6 files"
    files = sorted((tmp_path / "singles").iterdir())
    assert [path.name for path in files] == [f"{i:05d}.png" for i in range(6)]
    pixels = np.asarray(Image.open(files[2])).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(pixels, drawn(plan, state)[2, ..., 0], atol=1 / 127)


def test_a_walk_is_a_film_that_loops(command, folder, tmp_path):
    ended = command("sample", folder, "walk", "--n", 2, "--out", tmp_path / "walk")
    assert ended.out.split() == [str(tmp_path / "walk.gif"), str(tmp_path / "walk.mp4")], ended.err
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.info["loop"] == 0  # for ever
        frames = [np.asarray(frame.convert("L"), np.float32) for frame in ImageSequence.Iterator(film)]
    steps = [np.abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert len(frames) > 12 and steps[-1] < 3 * np.median(steps)  # no jump at the seam
    assert (tmp_path / "walk.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_walk_passes_the_samples_and_keeps_to_its_class(plan, state, monkeypatch, tmp_path):
    seen = {}

    def generate(method, params, extras, z, labels):
        seen.update(z=np.asarray(z), labels=labels)
        return np.zeros((len(z), *GREY.shape), np.float32)

    monkeypatch.setattr("genjax_art.sampling.generate", generate)
    drawing.walk(plan, state, tmp_path / "walk.gif", n=3, seed=5, label="square", truncation=0.5)
    walk, labels = seen["z"], seen["labels"]
    drawing.grid(plan, state, tmp_path / "grid.png", n=3, seed=5, truncation=0.5)
    np.testing.assert_allclose(walk[:: drawing.FRAMES], seen["z"], atol=1e-6)
    assert len(walk) == 3 * drawing.FRAMES and set(labels) == {1}


def test_raw_parameters_and_their_average_differ(plan, state):
    raw, ema = drawn(plan, state, which="raw"), drawn(plan, state, which="ema")
    assert np.abs(raw - ema).max() > 1e-4
    np.testing.assert_array_equal(drawn(plan, state), ema)  # the default, where there is one
    without = state.replace(ema={})
    np.testing.assert_array_equal(drawn(plan, without), raw)
    with pytest.raises(RunError, match="keeps no moving average of generator; leave --ema out"):
        drawn(plan, without, which="ema")


def test_truncated_latents_lie_within(plan):
    key = jax.random.key(0)
    z = draw_latents(key, 500, 4, truncation=0.5)
    assert 0.45 < np.abs(z).max() <= 0.5
    # the variance of a standard normal conditioned on [-t, t]: 1 - 2 t phi(t) / (2 Phi(t) - 1)
    assert np.var(z) == pytest.approx(0.0811, rel=0.1)
    assert np.abs(draw_latents(key, 500, 4)).max() > 2.5
    for truncation in (0.0, -1.0):
        with pytest.raises(UsageError, match="--truncation must be positive"):
            draw_latents(key, 5, 4, truncation)


def test_truncation_reaches_the_samples(plan, state):
    spread = [drawn(plan, state, n=64, label="round", truncation=t).std(0).mean() for t in (0.1, 1.0, None)]
    assert spread[0] < 0.5 * spread[1] < spread[2]


def test_a_label_asks_for_its_class(plan, state):
    squares, others = drawn(plan, state, label="square"), drawn(plan, state, label="other")
    assert np.abs(squares - others).max() > 1e-3  # the same latents
    z = draw_latents(sampling.fold(jax.random.key(0), "latents"), 6, 4)
    params, extras, _ = sampling.parameters(plan.method, state)
    expected = plan.method.generate(params, extras, z, jnp.full((6,), 1, jnp.int32))
    np.testing.assert_allclose(squares, expected, atol=1e-6)
    with pytest.raises(UsageError, match="unknown label 'blue'; known: other, round, square"):
        drawn(plan, state, label="blue")


def test_without_a_label_all_classes_have_their_turn():
    for n in (9, 10, 11):
        counts = np.bincount(draw_labels(jax.random.key(n), n, 3), minlength=3)
        assert counts.sum() == n and counts.max() - counts.min() <= 1
    assert not np.array_equal(draw_labels(jax.random.key(0), 9, 3), np.arange(9) % 3)


def test_pieces_change_nothing(plan, state, monkeypatch):
    whole = drawn(plan, state, n=11)
    monkeypatch.setattr("genjax_art.sampling.CHUNK", 4)  # two pieces and a filled-up one
    np.testing.assert_allclose(drawn(plan, state, n=11), whole, atol=1e-6)


def test_more_samples_begin_with_the_same_ones(plan, state):
    """Of one class: without a label the classes are dealt anew for every n."""
    few, many = drawn(plan, state, n=3, label="round"), drawn(plan, state, n=300, label="round")
    np.testing.assert_allclose(few, many[:3], atol=1e-6)


@pytest.mark.parametrize(("checkpoint", "step"), [("latest", 3), ("best", 2), ("2", 2), ("3", 3)])
def test_checkpoints_by_word_and_number(plan, folder, checkpoint, step):
    assert int(drawing.load_state(plan, folder, checkpoint).step) == step


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


def test_an_unconditional_run_has_no_labels(state):
    method = Method((), lambda key: ({}, {}), lambda params, extras, z, label: z, "generator", 4)
    assert sampling.labels_for(method, 3, 0) is None
    with pytest.raises(RunError, match="'cat' asked of a run that is not conditional"):
        sampling.labels_for(method, 3, 0, "cat")
