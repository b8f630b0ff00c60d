"""A file of the user's in every style of a run."""

import dataclasses

import numpy as np
import pytest
import tiny_run
from helpers import write_picture
from PIL import Image
from small import noise, vae_experiment

from genjax_art import load_run
from genjax_art.build import build_plan
from genjax_art.config import Component, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.media import medium
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.verbs import restyle
from genjax_art.verbs.output import Output

SPEC = ArraySpec((6, 5, 1), classes=("thin", "bold", "wide"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restyle") / "run"
    small = Component("conv_vae", {"latents": 3, "width": 4, "hidden": 8, "conditional": True})
    experiment = dataclasses.replace(with_run(vae_experiment(), steps=4, sample_every=0, save_every=4), model=small)
    assert run(build_plan(experiment, SPEC), noise(SPEC, 20), folder, how="jit") == 0
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return load_run(folder)


@pytest.fixture
def files(tmp_path):
    return tuple(write_picture(tmp_path / f"{name}.png", (6, 5), seed=i) for i, name in enumerate("ab"))


def arrays(paths):
    (path,) = paths
    with np.load(path) as found:
        return dict(found)


def test_each_file_has_a_row_with_itself_and_all_styles(trained, files, tmp_path):
    found = arrays(restyle.draw(trained, Output(tmp_path / "t.npz", named=True), file=files, label="bold"))
    table, labels = found["x"].reshape(2, 4, *SPEC.shape), found["label"].reshape(2, 4)
    x = np.stack([medium.read(path, SPEC).whole for path in files])
    np.testing.assert_array_equal(table[:, 0], x)
    np.testing.assert_array_equal(labels, [[1, 0, 1, 2]] * 2)
    z = trained.encode(x, np.array([1, 1], np.int32))
    for style in range(3):
        expected = trained.decode(z, np.full(2, style, np.int32))
        np.testing.assert_allclose(table[:, 1 + style], expected, atol=1e-6)
    assert np.abs(table[:, 1] - table[:, 2]).max() > 1e-4  # the label is heard
    some = arrays(
        restyle.draw(trained, Output(tmp_path / "s.npz", named=True), file=files, label="bold", to=("wide", "thin"))
    )
    np.testing.assert_array_equal(some["x"].reshape(2, 3, *SPEC.shape), table[:, [0, 3, 1]])


def test_without_a_label_it_is_the_style_that_is_reconstructed_best(trained, files, tmp_path, capsys):
    x = np.stack([medium.read(path, SPEC).whole for path in files])
    errors = []
    for style in range(3):
        labels = np.full(2, style, np.int32)
        errors.append(np.square(trained.decode(trained.encode(x, labels), labels) - x).sum((1, 2, 3)))
    best = np.argmin(errors, 0)
    np.testing.assert_array_equal(restyle.best_labels(trained, x), best)
    found = arrays(restyle.draw(trained, Output(tmp_path / "t.npz", named=True), file=files))
    np.testing.assert_array_equal(found["label"].reshape(2, 4)[:, 0], best)
    assert f"a.png is taken for {SPEC.classes[best[0]]}: --label names another" in capsys.readouterr().err


def test_the_command_writes_a_table_with_a_row_for_each_file(command, folder, files, tmp_path):
    out = tmp_path / "t.png"
    words = [folder, "restyle", "--file", *files, "--label", "thin"]
    ended = command("sample", *words, "--out", out)
    assert (ended.status, ended.out.strip()) == (0, str(out)), ended.err
    with Image.open(out) as image:
        across, down, about = *image.size, dict(image.text)
    scale = 64 // 6
    assert (across, down) == (2 + 4 * (5 * scale + 2), 2 + 2 * (6 * scale + 2))
    assert (about["of_0"], about["of_1"]) == ("a.png", "b.png") and "parameter_hash" in about
    assert (about["styles"], about["label_0"]) == ("thin, bold, wide", "thin")
    assert command("sample", *words, "--out", tmp_path / "one.png", "--columns", 2).status == 0
    with Image.open(tmp_path / "one.png") as image:
        assert image.size[0] == 2 + 2 * (5 * scale + 2)  # what is asked for goes first


def test_what_it_cannot_do_without(trained, files, tmp_path, quick_runs):
    out = Output(tmp_path / "x.npz", named=True)
    with pytest.raises(UsageError, match="needs one file"):
        restyle.draw(trained, out, file=())
    with pytest.raises(UsageError, match="fat"):
        restyle.draw(trained, out, file=files, to=("fat",))
    tiny_run.train(tmp_path / "plain")
    with pytest.raises(RunError, match="knows no classes: restyle needs a conditional one"):
        restyle.draw(load_run(tmp_path / "plain"), out, file=files)


def test_no_columns_are_refused(command, folder, tmp_path):
    ended = command("sample", folder, "--columns", 0, "--out", tmp_path / "x.png")
    assert ended.status != 0 and "--columns must be at least 1, got 0" in ended.err
