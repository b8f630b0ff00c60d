"""A run folder has any name and cannot be damaged unseen."""

import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from small import gan_experiment, noise, vae_experiment
from tiny_run import GREY, PLAN, SOURCE, contents, steps, train

from genjax_art import cli
from genjax_art.build import build_plan
from genjax_art.config import Component, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.files import plain_alias, quoted, replacing
from genjax_art.media import medium
from genjax_art.run import layout
from genjax_art.run.load import load_run
from genjax_art.run.lock import LOCK
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.manifest import MANIFEST, check_manifest
from genjax_art.train.rows import read_metrics

pytestmark = [
    pytest.mark.usefixtures("quick_runs", "compiled_once"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # reads that Orbax has abandoned
]


# Names.

NAMES = ["art [2026]", "a*b?", "caf\udce9", "two\nlines", "Größe", "$HOME", "-x", "q'uote", "x" * 255]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_trained_in_and_read(tmp_path, name, monkeypatch):
    folder = tmp_path / name / "run"
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        checkpoints.prepare()
        state = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), PLAN.state_shapes())
        checkpoints.save(1, state, 0.0)
        checkpoints.wait()
        found = checkpoints.restore(PLAN.state_shapes())
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert os.fsdecode(subprocess.check_output(["bash", "-c", f"printf %s {quoted(name)}"])) == name
    assert quoted(name).isprintable()


def test_a_run_with_brackets_keeps_its_checkpoints(copied, capsys):
    folder = copied.rename(copied.with_name("good[1] x"))
    assert train(folder, resume=True, steps=8) == 0
    assert steps(folder) == [4, 6, 8] or steps(folder) == [2, 4, 6, 8]
    assert "python sample.py '" + str(folder) + "'" in capsys.readouterr().out
    assert load_run(folder).step == 8


def test_a_path_that_is_too_long_is_refused_before_anything_is_made(tmp_path):
    folder = tmp_path.joinpath(*["x" * 200] * 20)
    with pytest.raises(RunError, match="too long"):
        train(folder)
    assert not list(tmp_path.iterdir())


def test_home_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert cli.parse_train(["--run-dir=~/x"]).run_dir == Path("/home/me/x")
    words = ["--run-dir", "~/x", "--data.folder=~/a=b", "a~b", "--steps=3"]
    assert cli.expand_homes(words) == ["--run-dir", "/home/me/x", "--data.folder=/home/me/a=b", "a~b", "--steps=3"]
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UsageError, match="no home folder"):
        cli.expand_homes(["--out=~/x"])


# Digests.


def damage(path, how):
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b"x"
    match how:
        case "removed":
            path.unlink()
        case "truncated":
            path.write_bytes(content[:middle] if content else b"x")
        case "emptied":
            path.write_bytes(b"" if content else b"x")
        case "flipped":
            path.write_bytes(flipped)


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped", "removed"])
def test_any_damage_to_any_file_is_noticed(copied, how):
    newest = copied / layout.CHECKPOINTS / "6"
    files = [path for path in sorted(newest.rglob("*")) if path.is_file()]
    assert len(files) > 6
    for path in files:
        content = path.read_bytes()
        damage(path, how)
        with pytest.raises(RunError, match="6 cannot be read, it is damaged"):
            check_manifest(newest, 6)
        path.write_bytes(content)
    assert check_manifest(newest, 6)["name"] == "tiny-vae"


def test_the_newest_intact_checkpoint_takes_the_place_of_damaged_ones(copied, capsys):
    for step in ("4", "6"):
        damage(next((copied / layout.CHECKPOINTS / step / "default" / "d").iterdir()), "flipped")
    assert load_run(copied).step == 2
    warning = capsys.readouterr().err
    assert "warning: checkpoint" in warning and "6 cannot be read" in warning and "of step 2" in warning
    for asked in (6, "6", "4"):
        with pytest.raises(RunError, match="cannot be read, it is damaged: the content of") as error:
            load_run(copied, asked)
        assert "\n" not in str(error.value)
    rows = read_metrics(copied / "metrics.jsonl")
    assert train(copied, resume=True) == 0  # to the length it had
    assert "6 cannot be read" in capsys.readouterr().err
    assert steps(copied) == [2, 4, 6]
    assert load_run(copied).step == 6 and not capsys.readouterr().err
    assert [row["vae/loss"] for row in read_metrics(copied / "metrics.jsonl")] == [row["vae/loss"] for row in rows]


def test_damaged_ones_stay_until_a_good_one_is_written(copied, monkeypatch):
    damage(copied / layout.CHECKPOINTS / "6" / MANIFEST, "flipped")

    def fail(*_):
        raise RunError("no score")

    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: fail)
    with pytest.raises(RunError, match="no score"):
        train(copied, resume=True, save_every=1)
    assert steps(copied) == [2, 4, 6]


def test_best_is_refused_where_it_is_damaged(copied):
    with Checkpoints(copied / layout.CHECKPOINTS) as checkpoints:
        best = checkpoints.best_step()
    damage(copied / layout.CHECKPOINTS / str(best) / "default" / "_METADATA", "truncated")
    with pytest.raises(RunError, match=f"{best} cannot be read, it is damaged"):
        load_run(copied, "best")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda config: config["run"].update(seed=1), "seed 0, not 1"),
        (
            lambda config: config["optimizers"]["vae"].update(learning_rate=0.5),
            "optimizers.vae.learning_rate 0.001, not 0.5",
        ),
        (lambda config: config["objective"]["options"].update(beta=2.0), "objective.options.beta 1.0, not 2.0"),
        (lambda config: config["spec"].update(low=-2.0), "spec.low"),
    ],
)
def test_a_config_that_was_changed_by_hand_is_noticed(copied, command, monkeypatch, change, named):
    config = json.loads((copied / layout.CONFIG).read_text())
    change(config)
    (copied / layout.CONFIG).write_text(json.dumps(config))
    monkeypatch.setattr("genjax_art.build.build_source", lambda experiment, split=None: SOURCE)
    before = contents(copied)
    for words in (("train", "--resume", "--run-dir", copied, "--steps", 9, "--parallel", "jit"), ("sample", copied)):
        ended = command(*words)
        assert ended.status == 1 and named in ended.err and len(ended.err.splitlines()) == 1
    assert contents(copied) == before


def test_lengths_may_be_changed_by_hand(copied):
    config = json.loads((copied / layout.CONFIG).read_text())
    config["run"].update(steps=7, keep_latest=1)
    (copied / layout.CONFIG).write_text(json.dumps(config))
    assert load_run(copied).step == 6


def test_metrics_that_are_no_text_are_one_line(copied):
    path = copied / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe{\n" + path.read_bytes())
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1: no metrics in JSON; delete the line"):
        read_metrics(path)
    for line in ('{"step": "x"}', '{"step": 1, "a": [1]}', "[" * 100_000, '{"step": true}'):
        path.write_text(line + '\n{"step": 1}\n')
        with pytest.raises(ValueError, match="line 1: no metrics"):
            read_metrics(path)


# Ended before the first checkpoint.


def test_a_run_that_never_saved_begins_again(tmp_path, capsys):
    folder = tmp_path / "run"
    layout.write_config(folder, PLAN.config)
    (folder / "metrics.jsonl").write_text('{"step": 1, "seconds": 1}\n')
    (folder / LOCK).write_text(json.dumps({"pid": 1 << 22, "host": os.uname().nodename, "start": 1.0}))
    with pytest.raises(RunError, match=r"yet: wait for its first save, or python train\.py --resume --run-dir"):
        load_run(folder)
    shutil.copytree(folder, tmp_path / "other")
    with pytest.raises(RunError, match=r"was made with seed 0, not 1"):
        run(build_plan(with_run(vae_experiment(), steps=6, seed=1), GREY), SOURCE, folder, how="jit")
    assert train(folder) == 0
    assert "has no checkpoint yet: the run begins at step 0" in capsys.readouterr().err
    assert train(tmp_path / "other", resume=True) == 0
    for place in (folder, tmp_path / "other"):
        assert [row["step"] for row in read_metrics(place / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


# Writing that fails, and reading meanwhile.


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_keeps_the_last(tmp_path, monkeypatch, capfd):
    import resource

    folder, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(state):
        if int(state.step) == 4:
            while not (folder / layout.CHECKPOINTS / "2").exists():
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        return 0.0

    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: full)
    try:
        with pytest.raises(RunError, match=r"4 cannot be written \(File too large\); that of step 2 is kept") as error:
            train(folder, log_every=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value) and "Traceback" not in capfd.readouterr().err
    assert [path.name for path in (folder / layout.CHECKPOINTS).iterdir()] == ["2"]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("checkpoint")]
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)
    assert train(folder, resume=True) == 0


def test_a_checkpoint_that_is_read_is_not_removed(copied):
    handle = os.open(copied / layout.CHECKPOINTS / "6", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    assert train(copied, resume=True, steps=9, save_every=1, keep_latest=1, keep_best=0) == 0
    assert steps(copied) == [6, 9]
    os.close(handle)
    assert train(copied, resume=True, steps=10, keep_latest=1, keep_best=0) == 0
    assert steps(copied) == [10]


def test_reading_follows_a_run_that_removes(copied, monkeypatch):
    """As if the step had been removed after its name was read."""
    found = iter([[2, 4, 6, 99], [2, 4, 6]])
    monkeypatch.setattr(Checkpoints, "steps", lambda self: next(found, [2, 4, 6]))
    assert load_run(copied).step == 6


# Links.


@pytest.mark.parametrize("name", [layout.CHECKPOINTS, layout.SAMPLES, "tensorboard"])
def test_links_in_a_run_folder_are_refused(copied, tmp_path, name):
    (tmp_path / "outside").mkdir()
    shutil.rmtree(copied / name, ignore_errors=True)
    (copied / name).symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match=f"{name} is a symbolic link"):
        train(copied, resume=True, steps=9)
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_at_the_place_of_a_file_is_replaced(tmp_path):
    (tmp_path / "outside").write_text("mine")
    for name in ("x.json", f".x.json.{os.getpid()}.part", ".x.json.part"):
        (tmp_path / name).symlink_to(tmp_path / "outside")
    with replacing(tmp_path / "x.json") as part:
        part.write_text("new")
    assert (tmp_path / "outside").read_text() == "mine"
    assert (tmp_path / "x.json").read_text() == "new" and not (tmp_path / "x.json").is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_an_alias_leaves_nothing_behind(tmp_path):
    (tmp_path / "a[1]").mkdir()
    with plain_alias(tmp_path / "a[1]") as plain:
        (plain / "x").write_text("y")
        assert "[" not in str(plain)
    assert (tmp_path / "a[1]" / "x").read_text() == "y" and not plain.parent.exists()


def test_another_model_is_no_damage(copied):
    """It is refused as what it is, and no older checkpoint is taken."""
    wider = dataclasses.replace(
        vae_experiment(), model=dataclasses.replace(vae_experiment().model, options={"width": 9})
    )
    with (
        Checkpoints(copied / layout.CHECKPOINTS) as checkpoints,
        pytest.raises(RunError, match=r"6 cannot be read for this model"),
    ):
        checkpoints.read_newest(lambda step: build_plan(wider, GREY).state_shapes(), pytest.fail)


@pytest.mark.parametrize("options", [{"width": 0}, {"latents": 0}, {"width": -8}])
def test_sizes_that_make_no_network_are_refused_before_the_first_step(options, quick_runs, tmp_path):
    experiment = with_run(gan_experiment(), steps=2, sample_every=0)
    experiment = dataclasses.replace(experiment, model=Component("mlp", {"width": 8, "latents": 4, **options}))
    spec = ArraySpec((4, 4, 1))
    with pytest.raises(RunError, match=r"has no numbers|cannot be built"):
        run(build_plan(experiment, spec), noise(spec, 20), tmp_path / "run", how="jit")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_medium_of_ones_own_needs_to_write_no_pictures(quick_runs, tmp_path, monkeypatch):
    """Samples on the way are the sheet that it shows."""

    def write(out, x, spec, about):
        if out.suffix != ".txt":
            raise UsageError(f"unknown ending {out.suffix!r} of {out}: use .txt")
        out.write_text(str(x.shape))
        return [out]

    def sheet(x, spec):
        return np.full((4, 5, 3), 7, np.uint8)

    module = types.ModuleType("own_words")
    module.MEDIUM = medium.Medium(write=write, sheet=sheet, samples=(".txt",), walk=(".txt",))
    monkeypatch.setitem(sys.modules, "own_words", module)
    spec = ArraySpec((4, 4, 1), kind="own_words:MEDIUM")
    plan = build_plan(with_run(vae_experiment(), steps=1, sample_every=1), spec)
    assert run(plan, noise(spec, 20), tmp_path / "run", how="jit") == 0
    with Image.open(tmp_path / "run" / layout.SAMPLES / "step_0000001.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), sheet(None, spec))
        assert picture.text["step"] == "1"
