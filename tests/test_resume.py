"""N + M steps are N steps, a stop, and M steps, bit for bit; interruption; what a failed run leaves."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from PIL import Image
from small import gan_experiment, noise, vae_experiment, video_gan_experiment

from genjax_art.build import build_plan
from genjax_art.config import Component, Optimizer, with_run
from genjax_art.data.contract import ArraySource
from genjax_art.errors import RunError
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.rows import read_metrics

pytestmark = pytest.mark.usefixtures("quick_runs")
GREY = ArraySpec((12, 10, 1), classes=("a", "b", "c"))
GAN = dataclasses.replace(
    gan_experiment(generator_norm="batch", discriminator_norm="batch", conditional=True),
    # what is carried from step to step besides statistics: averages of logits, an adapted probability, a count
    objective=Component(
        "gan",
        {
            "penalties": {"lecam": 0.3},
            "augmentations": ("translation",),
            "augmentation_policy": "adaptive",
            "top_k": (1.0, 0.5),
            "burn_in": 5,
        },
    ),
)
COSINE = Optimizer(1e-3, Component("adamw"), Component("cosine", {"warmup_steps": 2}), clip=1.0)
VAE = dataclasses.replace(vae_experiment(likelihood="gaussian"), optimizers={"vae": COSINE})
CLIPS = video_gan_experiment(conditional=True, discriminator_norm="spectral")


def plan_of(experiment, **changes):
    clips = ArraySpec((4, 8, 8, 3), kind="clip", classes=GREY.classes)
    return build_plan(with_run(experiment, **changes), clips if experiment is CLIPS else GREY)


def restored(plan, folder, step=None):
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        return checkpoints.restore(plan.state_shapes(), step)


def assert_bitwise_equal(plan, one, other):
    a, b = restored(plan, one), restored(plan, other)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        assert np.array_equal(x, y), jax.tree_util.keystr(path)


class Interrupting:
    """A source that sends this process a signal when it is asked for the n-th time."""

    def __init__(self, source, number, after):
        self.source, self.number, self.left = source, number, after
        self.spec = source.spec

    def __len__(self):
        return len(self.source)

    def take(self, indices):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.source.take(indices)


def losses(folder):
    """What was logged, without times."""
    timed = {"seconds", "images_per_second"}
    return [{k: v for k, v in row.items() if k not in timed} for row in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("experiment", [GAN, VAE, *thorough(CLIPS)], ids=["gan", "vae", "clips"])
def test_a_resumed_run_is_the_uninterrupted_one(experiment, tmp_path):
    """Here it ends after 3 of 7 steps, and is then asked for more; the schedule must be that of 7 steps."""
    plan = plan_of(experiment, steps=7)
    source = noise(plan.spec, 20)  # an epoch is 2.5 steps
    assert run(plan, source, tmp_path / "whole", how="jit") == 0
    first = with_run(plan, steps=3)
    assert run(first, source, tmp_path / "parts", how="jit") == 0
    assert run(plan, source, tmp_path / "parts", how="jit", resume=True) == 0
    assert int(restored(plan, tmp_path / "parts").step) == 7
    assert_bitwise_equal(plan, tmp_path / "whole", tmp_path / "parts")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    samples = [sorted((tmp_path / part / "samples").glob("step_0000007*")) for part in ("whole", "parts")]
    assert samples[0] and [path.read_bytes() for path in samples[0]] == [path.read_bytes() for path in samples[1]]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), *thorough((signal.SIGTERM, 143))])
def test_a_signal_ends_the_run_after_a_checkpoint(number, status, tmp_path, capsys):
    plan, source = plan_of(VAE, steps=40, save_every=100, sample_every=0, log_every=5), noise(GREY, 20)
    before = signal.getsignal(signal.SIGINT)
    assert run(plan, Interrupting(source, number, after=6), tmp_path / "parts", how="jit") == status
    stopped = layout.last_step(tmp_path / "parts")
    assert 0 < stopped < 40
    assert f"stopped at step {stopped} of 40" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before  # ours are gone again
    assert run(plan, source, tmp_path / "parts", how="jit", resume=True) == 0
    assert run(plan, source, tmp_path / "whole", how="jit") == 0
    assert_bitwise_equal(plan, tmp_path / "whole", tmp_path / "parts")


def test_a_run_goes_on_in_another_mode(tmp_path):
    plan, source = plan_of(VAE, steps=4), noise(GREY, 20)
    run(plan, source, tmp_path / "whole", how="jit")
    run(with_run(plan, steps=2), source, tmp_path / "parts", how="pmap")
    run(plan, source, tmp_path / "parts", how="mesh", resume=True)
    a, b = restored(plan, tmp_path / "whole"), restored(plan, tmp_path / "parts")
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5)


def test_a_run_leaves_everything_in_its_folder(tmp_path, capsys):
    plan = plan_of(VAE, steps=4)
    run(plan, noise(GREY, 20), tmp_path / "run", how="jit")
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {"config.json", "metrics.jsonl"} <= names
    assert {"samples/step_0000002.png", "samples/step_0000004.png"} <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    assert not [name for name in names if name.endswith(".part")]
    assert layout.last_step(tmp_path / "run") == 4
    last = capsys.readouterr().out.splitlines()[-1]
    assert "trained at step 4 of 4" in last and f"python sample.py {tmp_path / 'run'}" in last
    assert {"vae/loss", "vae/grad_norm", "vae/elbo", "vae/reconstruction", "vae/kl"} <= set(losses(tmp_path / "run")[0])


def test_images_are_those_of_all_updates_of_a_step_in_logs_and_half_lives(tmp_path):
    """A step of five updates of the discriminator takes five batches of the data."""
    objective = Component("gan", {"discriminator_repeats": 5})
    experiment = dataclasses.replace(gan_experiment(), objective=objective, ema_half_life={"generator": 400.0})
    plan = build_plan(with_run(experiment, steps=1, sample_every=0), GREY)
    assert plan.images_per_step == 5 * 8
    assert run(plan, noise(GREY, 20), tmp_path, how="jit") == 0
    assert [row["images"] for row in losses(tmp_path)] == [40]
    late = 10_000  # when it is warmed up: half after ten steps of 40 images
    assert float(plan.ema["generator"](jnp.asarray(late))) ** 10 == pytest.approx(0.5, rel=1e-4)


def test_another_seed_is_another_run(tmp_path):
    for seed in (0, 1):
        run(plan_of(VAE, seed=seed, steps=1, sample_every=0), noise(GREY, 20), tmp_path / str(seed), how="jit")
    a, b = (restored(plan_of(VAE), tmp_path / str(seed)) for seed in (0, 1))
    kernels = [s.params["vae"]["encoder"]["Dense_0"]["kernel"] for s in (a, b)]
    assert np.abs(kernels[0] - kernels[1]).min() < np.abs(kernels[0] - kernels[1]).max()
    assert not np.isclose(*kernels).any()


def broken_from(row):
    """A source of which every example from `row` on is not a number."""
    source = noise(ArraySpec(GREY.shape, kind="points", classes=GREY.classes, bounded=False), 64)
    x = source.arrays["x"].copy()
    x[row:] = np.nan
    return ArraySource(GREY, {**source.arrays, "x": x})


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    def in_order(length, *, batch_size, n, **_):
        return np.arange(n * batch_size, (n + 1) * batch_size) % length

    monkeypatch.setattr("genjax_art.data.batches.batch_indices", in_order)
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)
    plan, folder = plan_of(VAE, steps=8, save_every=2, sample_every=0), tmp_path / "run"
    with pytest.raises(RunError, match="is nan at step 6; the last checkpoint before it is kept") as error:
        run(plan, broken_from(40), folder, how="jit")  # steps 1 to 5 see rows 0 to 39
    assert "\n" not in str(error.value)
    assert layout.last_step(folder) == 4
    with pytest.raises(RunError, match="is nan at step 1; nothing was saved before it: train anew with a lower"):
        run(plan, broken_from(0), tmp_path / "other", how="jit")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored(plan, folder)))
    assert run(plan, noise(GREY, 64), folder, how="jit", resume=True) == 0  # mended data: it goes on


def test_nothing_is_written_where_the_devices_cannot_share_the_batch(tmp_path):
    with pytest.raises(ValueError, match="has 12 rows, not a multiple of 8 devices"):
        run(plan_of(VAE, batch_size=12), noise(GREY, 20), tmp_path / "run", how="pmap")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_leaves_the_folder_as_it_is(tmp_path):
    folder = tmp_path / "run"
    plan = plan_of(VAE, steps=1, sample_every=0)
    run(plan, noise(GREY, 20), folder, how="jit")
    for path in (folder / layout.CHECKPOINTS / "1" / "default").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="cannot be read"):
        run(plan_of(VAE, steps=9, sample_every=0), noise(GREY, 20), folder, how="jit", resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


PRESET = """
from genjax_art.config import Component, Experiment, Optimizer, RunOptions

EXPERIMENT = Experiment(
    name="mine",
    model=Component("mlp", {{"width": 8, "latents": 4}}),
    objective=Component("gan", {{"loss": "minimax"}}),
    optimizers={{"discriminator": Optimizer(1e-3), "generator": Optimizer(1e-3)}},
    data=Component("image_folder", {{"folder": {folder!r}, "size": (8, 8), "channels": 1}}),
    run=RunOptions(batch_size=8, log_every=1, sample_every=0, save_every=1_000_000),
)
"""


def stopped_by(number, metrics, *arguments):
    """train.py in a process of its own, sent a signal once it has logged some steps more: status, stdout, stderr."""
    before = metrics.stat().st_size if metrics.exists() else 0
    process = subprocess.Popen(
        [sys.executable, "train.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 120
        while not (metrics.exists() and metrics.stat().st_size > before + 1000) and process.poll() is None:
            assert time.monotonic() < until, "no step within two minutes"
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.thorough
def test_train_in_a_process_of_its_own_survives_signals(command, tmp_path, monkeypatch):
    """The user's own preset file on the user's own pictures, stopped twice, resumed, and compared with a whole run."""
    (tmp_path / "pictures" / "some").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
        picture.save(tmp_path / "pictures" / "some" / f"{i}.png")
    preset, folder = tmp_path / "mine.py", tmp_path / "run"
    preset.write_text(PRESET.format(folder=str(tmp_path / "pictures")))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setenv("GENJAX_ART_CACHE", str(tmp_path / "cache"))
    common = ["--parallel", "jit"]
    saved = []
    for number, status, start in ((signal.SIGINT, 130, preset), (signal.SIGTERM, 143, "--resume")):
        words = [start, "--steps", 1_000_000, "--run-dir", folder, *common]
        ended, out, err = stopped_by(number, folder / "metrics.jsonl", *words)
        assert ended == status, err
        assert "Traceback" not in err
        assert f"python train.py --resume --run-dir {folder}" in out
        saved.append(layout.last_step(folder))
        assert sorted(path.name for path in (folder / layout.CHECKPOINTS).iterdir() if path.is_dir()) == sorted(
            map(str, saved)
        )
    assert 0 < saved[0] < saved[1]
    with Image.open(folder / "curves.png") as curves:
        assert min(curves.size) > 100
    for place, start in ((folder, "--resume"), (tmp_path / "whole", preset)):
        ended = command("train", start, "--steps", saved[1] + 3, "--run-dir", place, *common)
        assert ended.status == 0, ended.err
    experiment = dataclasses.replace(
        gan_experiment("minimax"),
        model=Component("mlp", {"width": 8, "latents": 4}),
        ema_half_life={},
        data=Component("image_folder", {"folder": str(tmp_path / "pictures")}),
    )
    plan = build_plan(experiment, ArraySpec((8, 8, 1), classes=("some",)))
    assert_bitwise_equal(plan, folder, tmp_path / "whole")
