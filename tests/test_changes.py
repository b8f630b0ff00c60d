"""What may be changed when a run is resumed: by name, noted in its history, and never half."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from small import gan_experiment, noise, vae_experiment

from genjax_art import cli
from genjax_art.build import build_plan
from genjax_art.config import Component, Optimizer, with_run
from genjax_art.errors import RunError
from genjax_art.run import changes, layout
from genjax_art.run.load import load_run
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("quick_runs")
GREY = ArraySpec((8, 8, 1))


def plan_of(experiment, **options):
    return build_plan(with_run(experiment, **options), GREY)


def resume(experiment, folder, **options):
    return run(plan_of(experiment, **options), noise(GREY, 20), folder, how="jit", resume=True, changed=cli.CHANGEABLE)


def restored(plan, folder, step=None):
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        return checkpoints.restore(plan.state_shapes(), step)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A VAE and a GAN after two steps."""
    folder = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.run.scores.SCORED", 8)
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        for name, experiment in (("vae", vae_experiment()), ("gan", gan_experiment())):
            run(plan_of(experiment, steps=2, sample_every=0), noise(GREY, 20), folder / name, how="jit")
    return folder


@pytest.fixture
def trained(originals, tmp_path):
    return shutil.copytree(originals, tmp_path / "trained")


def test_rate_and_clipping_change_and_are_noted(trained):
    folder, before = trained / "vae", vae_experiment()
    clipped = dataclasses.replace(before, optimizers={"vae": Optimizer(5e-4, clip=1.0)})
    assert resume(clipped, folder, steps=4, save_every=1, keep_latest=9, sample_every=0) == 0
    config = json.loads((folder / "config.json").read_text())
    (entry,) = config["history"]
    assert (entry["step"], set(entry["changed"])) == (2, {"optimizers", "steps", "save_every", "keep_latest"})
    assert [o["vae"]["clip"] for o in entry["changed"]["optimizers"]] == [None, 1.0]
    assert config["optimizers"]["vae"]["learning_rate"] == 5e-4
    # Adam's moments went on: a first state would have counted two updates
    counts = [leaf for leaf in jax.tree.leaves(restored(plan_of(clipped), folder).opt_state) if leaf.dtype == np.int32]
    assert [int(count) for count in counts] == [4, 4]
    # older checkpoints are of the experiment before the change
    assert load_run(folder, 2).step == 2 and load_run(folder, 3).step == 3
    # and back: without clipping
    assert resume(before, folder, steps=5, save_every=1, keep_latest=9, sample_every=0) == 0
    assert [entry["step"] for entry in changes.history(folder)] == [2, 4]
    assert [load_run(folder, step).step for step in (2, 4, 5)] == [2, 4, 5]


def test_a_change_that_was_killed_before_its_first_checkpoint_is_no_half_one(trained):
    """The config says clipped, the newest checkpoint is of an optimizer without: both are read."""
    folder = trained / "vae"
    clipped = dataclasses.replace(vae_experiment(), optimizers={"vae": Optimizer(5e-4, clip=1.0)})
    plan = plan_of(clipped, steps=4)
    layout.write_config(folder, changes.with_history(folder, plan.config, 2))
    assert load_run(folder).step == 2
    assert resume(clipped, folder, steps=4, sample_every=0) == 0
    assert load_run(folder).step == 4


def test_new_penalties_start_their_averages(trained):
    folder = trained / "gan"
    options = {"loss": "non_saturating", "penalties": {"lecam": 0.3}}
    changed = dataclasses.replace(gan_experiment(), objective=Component("gan", options))
    assert resume(changed, folder, steps=4, sample_every=0) == 0
    assert load_run(folder).step == 4


def test_what_cannot_go_on_is_refused_and_leaves_the_folder(trained):
    for change, message in (
        ({"model": Component("mlp_vae", {"width": 9, "latents": 3})}, "another model: vae/.* has shape"),
        ({"optimizers": {"vae": Optimizer(1e-3, Component("sgd"))}}, "another optimizer for vae"),
    ):
        before = (trained / "vae" / "config.json").read_bytes()
        with pytest.raises(RunError, match=message):
            resume(dataclasses.replace(vae_experiment(), **change), trained / "vae", steps=4)
        assert (trained / "vae" / "config.json").read_bytes() == before


def test_a_history_imports_nothing(trained):
    """Modules from outside are asked about in the experiment; a history could name others."""
    path = trained / "vae" / "config.json"
    config = json.loads(path.read_text())
    config["history"] = [{"step": 2, "changed": {"model": [{"name": "evil:build", "options": {}}, config["model"]]}}]
    path.write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"before its last change: .*code from outside this package, of the module evil"):
        load_run(trained / "vae")


@pytest.mark.parametrize("history", [3, [3], [{}], [{"step": "x", "changed": {}}], [{"step": 1, "changed": {"a": 3}}]])
def test_a_history_of_other_things_is_one_line(trained, history):
    path = trained / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "history": history}))
    with pytest.raises(RunError, match="history is no list of steps"):
        load_run(trained / "vae")


# the command line


def saved(folder, **options):
    experiment = with_run(
        dataclasses.replace(
            vae_experiment(), optimizers={"vae": Optimizer(1e-3, schedule=Component("cosine", {"warmup_steps": 1}))}
        ),
        **options,
    )
    layout.write_config(folder, build_plan(experiment, GREY).config)
    return ["--resume", "--run-dir", str(folder)]


def test_changes_are_asked_for_by_name(command, tmp_path):
    words = saved(tmp_path)
    ended = command("train", *words, "--optimizers.vae.clip", 1)
    assert ended.status == 2 and "say so with --changed optimizers, or train anew" in ended.err
    parsed = cli.parse_train([*words, "--optimizers.vae.clip", "1", "--changed", "optimizers", "ema-half-life"])
    assert parsed.experiment.optimizers["vae"].clip == 1.0
    ended = command("train", *words, "--seed", 3, "--changed", "optimizers")
    assert ended.status == 2 and "cannot change seed" in ended.err and "--changed" not in ended.err
    ended = command("train", *words, "--changed", "speed")
    assert ended.status == 2 and "unknown field for --changed 'speed'; known: data, ema_burn_in" in ended.err
    ended = command("train", "mlp-vae", "--changed", "optimizers")
    assert ended.status == 2 and "--changed needs --resume" in ended.err


def test_a_longer_run_keeps_the_schedule_of_its_first_length(tmp_path, capsys):
    """A cosine over 4 steps does not rise again when the run is asked for 8."""
    words = saved(tmp_path, steps=4)
    run_options = cli.parse_train([*words, "--steps", "8"]).experiment.run
    assert (run_options.steps, run_options.schedule_steps) == (8, 4)
    said = capsys.readouterr().err
    assert "learning rate of vae follows a schedule over 4 steps" in said and "--schedule-steps 8" in said
    for length in (8, 0):
        run_options = cli.parse_train([*words, "--steps", "8", "--schedule-steps", str(length)]).experiment.run
        assert run_options.schedule_steps == length
        assert capsys.readouterr().err == ""
    saved(tmp_path, steps=8, schedule_steps=4)  # and when it is made longer again
    assert cli.parse_train([*words, "--steps", "12"]).experiment.run.schedule_steps == 4


def test_the_schedule_has_its_own_length(tmp_path):
    """Steps 5 to 8 of a run of 8 whose schedule is over 4 change nothing: the rate is 0."""
    zero = dataclasses.replace(vae_experiment(), optimizers={"vae": Optimizer(1e-3, schedule=Component("cosine"))})
    folder, plan = tmp_path / "run", plan_of(zero, steps=8, schedule_steps=4, sample_every=0, keep_latest=9)
    run(plan, noise(GREY, 20), folder, how="jit")
    at = {step: restored(plan, folder, step).params["vae"] for step in (2, 4, 8)}
    same = [jax.tree.all(jax.tree.map(np.array_equal, at[a], at[b])) for a, b in ((2, 4), (4, 8))]
    assert same == [False, True]
