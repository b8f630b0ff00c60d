"""The default preset in its own size on its own data: what a first `python train.py` does, for a few steps."""

import numpy as np
import pytest
from PIL import Image

from genjax_art.run import layout
from genjax_art.train.rows import read_metrics


@pytest.mark.usefixtures("own_data")
def test_the_default_preset_takes_steps_on_real_digits(command, tmp_path):
    folder = tmp_path / "run"
    few = ["--steps", 3, "--batch-size", 8, "--log-every", 1, "--sample-every", 3, "--save-every", 3]
    ended = command("train", *few, "--parallel", "jit", "--run-dir", folder)
    assert ended.status == 0, ended.err
    config, spec = layout.read_config(folder)
    assert (config["name"], config["data"]["name"]) == ("dcgan-small", "mnist_5k")
    assert spec.shape == (28, 28, 1) and spec.classes == tuple("0123456789")
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3] and rows[-1]["images"] == 24
    losses = np.array([[row["discriminator/loss"], row["generator/loss"]] for row in rows])
    assert np.isfinite(losses).all() and len(np.unique(losses)) == losses.size
    assert layout.last_step(folder) == 3
    (picture,) = (folder / layout.SAMPLES).iterdir()
    assert np.asarray(Image.open(picture)).std() > 0


def test_points_are_walked_without_further_words(command, tmp_path):
    run = tmp_path / "run"
    ended = command("train", "ring8", "--steps", 1, "--sample-every", 0, "--parallel", "jit", "--run-dir", run)
    assert ended.status == 0, ended.err
    assert command("sample", run, "walk").status == 0
    assert np.asarray(Image.open(run / "walk.png")).std() > 0
