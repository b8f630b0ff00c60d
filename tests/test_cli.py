"""The command lines: overrides of every kind, errors of one line with their exit status, nothing overwritten."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import noise, vae_experiment

from genjax_art import cli
from genjax_art.build import build_plan, complete, load_preset, preset_names
from genjax_art.config import Component, with_run
from genjax_art.errors import UsageError
from genjax_art.evaluate.command import parse_evaluate
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec

GREY = ArraySpec((8, 8, 1), classes=("a", "b"))
ROOT = Path(cli.__file__).resolve().parents[1]


def parsed(*words):
    return cli.parse_train([str(word) for word in words])


def test_without_a_word_it_is_the_default():
    command = parsed()
    assert command.experiment == complete(load_preset("dcgan-small"))
    assert (command.run_dir, command.parallel, command.resume, command.debug) == (None, None, False, False)


@pytest.mark.parametrize(
    ("words", "path", "value"),
    [
        (["--steps", 7], "run.steps", 7),
        (["--seed", 3], "run.seed", 3),
        (["--batch-size", 16], "run.batch_size", 16),
        (["--batch_size=16"], "run.batch_size", 16),
        (["--data.name", "mnist"], "data.name", "mnist"),
        (["--data.split", "test"], "data.options.split", "test"),
        (["dcgan-art", "--data.size", 32, 48], "data.options.size", (32, 48)),
        (["dcgan-art", "--data.channels", 1], "data.options.channels", 1),
        (["music-vae", "--data.bars", 4], "data.options.bars", 4),
        (["--data.size", 32, 48], "data.options.size", (32, 48)),
        (["--data.channels", 3], "data.options.channels", 3),
        (["dcgan-art", "--data.name", "image_folder"], "data.options.size", (32, 32)),
        (["--data.name", "midi_folder", "--data.folder", "a/b"], "data.options.folder", "a/b"),
        (["--data.data-dir", "sets"], "data.options.data_dir", "sets"),
        (["--model.width", 8], "model.options.width", 8),
        (["--model.conditional"], "model.options.conditional", True),
        (["--model.generator-norm", "none"], "model.options.generator_norm", "none"),
        (["--objective.loss", "hinge"], "objective.options.loss", "hinge"),
        (["--objective.no-shared-latents"], "objective.options.shared_latents", False),
        (["--optimizers.generator.learning-rate", "1e-3"], "optimizers.generator.learning_rate", 1e-3),
        (["--optimizers.generator.clip", 1], "optimizers.generator.clip", 1.0),
        (["--optimizers.discriminator.transform.b1", 0.25], "optimizers.discriminator.transform.options.b1", 0.25),
        (["--ema-half-life.generator", 500], "ema_half_life.generator", 500.0),
    ],
)
def test_overrides(words, path, value):
    place = parsed(*words).experiment
    for name in path.split("."):
        place = place[name] if isinstance(place, dict) else getattr(place, name)
    assert (place, type(place)) == (value, type(value))


def test_an_override_changes_nothing_else():
    expected = with_run(complete(load_preset("conv-vae")), steps=5)
    assert parsed("conv-vae", "--steps", 5).experiment == expected


def test_another_component_brings_its_own_options():
    experiment = parsed("--model.name", "mlp", "--model.width", 8).experiment
    assert experiment.model.name == "mlp"
    assert experiment.model.options["width"] == 8 and "kernel" not in experiment.model.options
    words = ["--optimizers.generator.schedule.name", "cosine", "--optimizers.generator.schedule.warmup-steps", 5]
    schedule = parsed(*words).experiment.optimizers["generator"].schedule
    assert schedule == Component("cosine", {"warmup_steps": 5, "final": 0.0})
    data = parsed("dcgan-art", "--data.name", "chorales", "--data.bars", 1).experiment.data
    assert data == Component("chorales", {"split": "train", "data_dir": None, "bars": 1})
    transform = parsed("--optimizers.generator.transform.name=sgd").experiment.optimizers["generator"].transform
    assert transform == Component("sgd", {"momentum": 0.0})


@pytest.mark.parametrize(
    "words",
    [
        ("--trust=a",),
        ("--trust=a", "b"),
        ("--trust", "a", "b", "--n", "4"),
        ("--trust", "a", "--trust", "b", "c"),
        ("--trust", "a", "--trust=b"),
        ("--n", "4", "--trust"),
        ("--n", "4"),
    ],
)
def test_words_that_are_read_before_the_others_are_those_that_are_parsed(words):
    assert cli._values(words, "--trust") == parse_evaluate(["run", *words]).trust


def test_other_words():
    command = parsed("mlp-gan", "--run-dir", "there", "--parallel", "mesh", "--debug")
    assert (command.run_dir, command.parallel, command.debug) == (Path("there"), "mesh", True)


def test_the_users_own_preset_file(tmp_path):
    path = tmp_path / "mine.py"
    lines = ["from genjax_art.config import with_run", "from genjax_art.presets.mlp_gan import EXPERIMENT as base"]
    path.write_text("\n".join([*lines, "EXPERIMENT = with_run(base, steps=11)", ""]))
    assert parsed(path).experiment.run.steps == 11
    assert parsed(path, "--steps", 12).experiment.run.steps == 12
    path.write_text("EXPERIMENT = 3\n")
    with pytest.raises(UsageError, match=r"mine\.py must define EXPERIMENT"):
        parsed(path)


# Errors, as the shell sees them.


def failed(ended, status, *words):
    assert ended.status == status, ended
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, ended.err
    return ended


def test_help_names_presets_and_units(command):
    ended = command("train", "--help")
    assert ended.status == 0
    assert all(name in ended.out for name in preset_names())
    assert all(word in ended.out for word in ("--data.split", "--model.width", "in images", "--optimizers.generator"))
    assert "--truncation" in command("sample", "--help").out


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        (["dcgan-smal"], ["unknown preset 'dcgan-smal'", *preset_names()]),
        (["nowhere.py"], ["no preset file nowhere.py", "dcgan-small"]),
        (["--widht", "3"], ["--widht"]),
        (["--steps", "many"], ["--steps", "many"]),
        (["--model.name", "perceptron"], ["unknown model 'perceptron'", "conv_vae, dcgan"]),
        (["--objective.name", "diffusion"], ["unknown objective 'diffusion'", "gan", "vae"]),
        (["--optimizers.generator.transform.name", "lion"], ["unknown optimizer 'lion'", "adam, adam_burn_in, adamw"]),
        (["--optimizers.generator.schedule.name", "step"], ["unknown schedule 'step'", "burn_in, constant"]),
        (["--parallel", "tmap"], ["jit", "pmap", "mesh"]),
        (["--resume"], ["--resume needs --run-dir"]),
        (["--data.name", "ring8", "--data.size", "2", "2"], ["--data.size"]),
        (["dcgan-art", "--data.channels", "many"], ["--data.channels"]),
    ],
)
def test_wrong_words_are_usage_errors(command, words, mentioned):
    failed(command("train", *words), 2, *mentioned)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """No data set is prepared: the commands train on noise."""
    monkeypatch.setattr("genjax_art.build.build_source", lambda experiment, split=None: noise(GREY, 20))
    return tmp_path


TINY = ["--parallel", "jit", "--batch-size", 8, "--sample-every", 0, "--model.width", 4, "--model.latents", 2]


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        (["--objective.loss", "lsgan"], ["unknown adversarial loss 'lsgan'", "least_squares"]),
        (["--model.generator-norm", "layer"], ["--model.generator-norm", "batch", "none"]),
        (["--steps", 0], ["--steps must be at least 1"]),
        (["--ema-half-life.generator", 0], ["--ema-half-life.generator must be above 0"]),
        (["--objective.name", "vae"], ["needs 'encoder'"]),
        (["mlp-vae", "--objective.likelihood", "poisson"], ["unknown likelihood 'poisson'", "bernoulli"]),
    ],
)
def test_wrong_values_are_usage_errors_too(command, pictures, words, mentioned):
    failed(command("train", *words, "--run-dir", pictures / "run"), 2, *mentioned)
    assert not (pictures / "run").exists()


def test_unknown_data_are_run_errors(command, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    folder = ["--run-dir", tmp_path / "run"]
    failed(command("train", "--data.name", "minst", *folder), 1, "no data set 'minst'", "mnist_5k")
    failed(command("train", "--data.name", "image_folder", *folder), 1, "--data.folder DIR")
    failed(command("train", "--data.split", "validation", *folder), 1, "no split 'validation'", "train")
    assert not (tmp_path / "run").exists()


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_train_makes_a_run_and_overwrites_nothing(command, pictures):
    words = ["mlp-gan", *TINY, "--run-dir", pictures / "run"]
    ended = command("train", *words, "--steps", 2)
    assert ended.status == 0, ended.err
    assert f"python sample.py {pictures / 'run'}" in ended.out.splitlines()[-1]
    before = contents(pictures)
    assert any("checkpoints/2/" in str(path) for path in before)

    failed(command("train", *words, "--steps", 4), 1, "holds a run at step 2", "--resume", "--run-dir")
    resume = ["--resume", "--run-dir", pictures / "run"]
    failed(command("train", *resume), 1, "at step 2 already", "--steps")
    failed(command("train", "dcgan", *resume, "--steps", 4), 2, "is a run of mlp-gan, not of dcgan")
    failed(command("train", *resume, "--steps", 4, "--seed", 1), 2, "--resume cannot change seed", "steps")
    failed(command("train", *resume, "--steps", 4, "--model.width", 5), 2, "--resume cannot change model")
    failed(command("train", *resume, "--steps", 4, "--model.name", "dcgan"), 2, "--resume cannot change model")
    failed(command("train", "--resume", "--run-dir", pictures / "none"), 1, "no run in", "config.json is missing")
    assert contents(pictures) == before

    assert command("train", "mlp-gan", *resume, "--steps", 3, "--parallel", "jit").status == 0
    assert layout.last_step(pictures / "run") == 3


def test_train_refuses_folders_of_other_files(command, pictures):
    (pictures / "run").mkdir()
    (pictures / "run" / "thesis.txt").write_text("all my work")
    failed(command("train", *TINY, "--steps", 1, "--run-dir", pictures / "run"), 1, "holds other files")
    (pictures / "file").write_text("not a folder")
    failed(command("train", *TINY, "--steps", 1, "--run-dir", pictures / "file"), 1, "holds other files")
    assert (pictures / "run" / "thesis.txt").read_text() == "all my work"


def test_an_empty_folder_is_free(command, pictures):
    (pictures / "run").mkdir()
    assert command("train", "mlp-vae", *TINY, "--steps", 1, "--run-dir", pictures / "run").status == 0


def test_without_a_folder_runs_are_numbered(command, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    words = ["mlp-vae", *TINY, "--steps", 1]
    for name in ("mlp-vae", "mlp-vae-2", "mlp-vae-3"):
        assert command("train", *words).status == 0
        assert layout.last_step(Path("runs") / name) == 1
    failed(command("train", "mlp-vae", *TINY, "--steps", 0), 2)
    (Path("runs") / "mlp-vae" / "checkpoints" / "1").rename(pictures / "away")  # as if it had been killed
    failed(command("train", *words, "--seed", 1), 1, "runs/mlp-vae was made with seed 0, not 1")
    ended = command("train", *words)
    assert ended.status == 0 and "runs/mlp-vae has no checkpoint yet: the run begins at step 0" in ended.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a VAE without labels."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    experiment = with_run(vae_experiment(), steps=1, sample_every=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.run.scores.SCORED", 8)
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        spec = ArraySpec((8, 8, 1))
        assert run(build_plan(experiment, spec), noise(spec, 20), folder, how="jit") == 0
    return folder


@pytest.mark.parametrize(
    ("words", "status", "mentioned"),
    [
        (["--n", 0], 2, ["--n must be at least 1"]),
        (["walk", "--n", 1], 2, ["--n of at least 2"]),
        (["--truncation", 0], 2, ["--truncation must be positive"]),
        (["walk", "--truncation", -1, "--n", 2], 2, ["--truncation must be positive"]),
        (["--raw", "--ema"], 2, ["--raw and --ema exclude each other"]),
        (["--checkpoint", "newest"], 2, ["latest, best or a step"]),
        (["--checkpoint", 5], 1, ["no checkpoint of step 5", "1"]),
        (["--label", "cat"], 1, ["not conditional"]),
        (["--out", "x.bmp"], 2, [".bmp", ".png, .gif, .mp4, .npz"]),
        (["dance"], 2, ["grid", "walk"]),
        (["--seed", "x"], 2, ["--seed"]),
        (["--seed", 10**20], 2, ["--seed must be below 2147483648"]),
    ],
)
def test_sample_errors(command, finished, words, status, mentioned, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = contents(finished)
    failed(command("sample", finished, *words), status, *mentioned)
    assert contents(finished) == before and not list(tmp_path.iterdir())


def test_sample_of_no_run(command, tmp_path):
    failed(command("sample", tmp_path), 1, "no run in", "config.json is missing")
    failed(command("sample"), 2)
    (tmp_path / "config.json").write_text("{")
    failed(command("sample", tmp_path), 1, "config.json cannot be read")


def test_sample_before_the_first_checkpoint(command, tmp_path):
    layout.write_config(tmp_path, build_plan(vae_experiment(), GREY).config)
    failed(command("sample", tmp_path), 1, "no checkpoint")


@pytest.mark.parametrize("script", ["train", "sample"])
def test_a_run_of_a_newer_version_is_refused(command, tmp_path, script):
    config = {**build_plan(vae_experiment(), GREY).config, "version": 99}
    layout.write_config(tmp_path, config)
    words = ["--resume", "--run-dir", tmp_path] if script == "train" else [tmp_path]
    failed(command(script, *words), 1, str(tmp_path), "config version 99", "install a newer genjax_art")
    assert json.loads((tmp_path / "config.json").read_text())["version"] == 99


def test_a_damaged_checkpoint_is_one_line(command, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints" / "1" / "default").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    ended = failed(command("sample", tmp_path / "run"), 1, "cannot be read")
    assert len(ended.err.strip().splitlines()) == 1


def test_without_scores_none_is_the_best(command, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "1" / "metrics")
    words = ["--checkpoint", "best", "--out", tmp_path / "x.png"]
    failed(command("sample", tmp_path / "run", *words), 1, "has a score: use --checkpoint latest or a step")
    assert command("sample", finished, *words).status == 0


def test_debug_shows_the_traceback(command):
    """The error passes through to Python, which shows it."""
    failed(command("train", "nobody"), 2, "unknown preset")
    with pytest.raises(UsageError, match="unknown preset"):
        command("train", "nobody", "--debug")


def test_a_defect_keeps_its_traceback(monkeypatch):
    """A ValueError out of NumPy is a defect of ours, not a word to the user."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(lambda arguments: np.ones(2) + np.ones(3))


def test_sample_in_a_process_of_its_own(finished, tmp_path):
    """Nothing but the run folder: no data set, no preset, no cache; and the metadata of what it draws."""
    from genjax_art.media.image import read_png_metadata

    empty = {"TFDS_DATA_DIR": str(tmp_path / "x"), "GENJAX_ART_CACHE": str(tmp_path / "y"), "HOME": str(tmp_path)}
    words = [str(ROOT / "sample.py"), str(finished), "--n", "4", "--out", str(tmp_path / "a.png")]
    child = subprocess.run(
        [sys.executable, *words], env={**os.environ, **empty}, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == str(tmp_path / "a.png")
    assert {"seed": "0", "step": "1", "parameters": "ema", "preset": "tiny-vae"}.items() <= read_png_metadata(
        tmp_path / "a.png"
    ).items()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]
