"""DCGAN for 100 epochs of MNIST, a whole run in a folder: its seconds, and its digits."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import jax
import numpy as np
from PIL import Image

from genjax_art import sampling
from genjax_art.benchmark.device.row import Row, in_precision
from genjax_art.build import build_plan, build_source, load_preset
from genjax_art.config import Component, Experiment, with_run
from genjax_art.data.contract import Source
from genjax_art.errors import RunError
from genjax_art.run.load import load_run
from genjax_art.run.training import run
from genjax_art.train.rows import METRICS_FILE, read_metrics

GOAL = 60.0  # seconds
EPOCHS, EXAMPLES = 100, 60_000
DIGITS = 5000
SHADES = 20.0  # standard deviation of levels below which there are no digits; of real ones it is 79


def rows(tiny: bool, out: Path | None = None) -> Iterator[Row]:
    """With `out`, generated digits are written there: a sheet, and an array for measures."""
    source, note = data_of(tiny)
    yield trained(in_precision(experiment_of(tiny), "bfloat16"), source, note, tiny, out)


def data_of(tiny: bool) -> tuple[Source, str]:
    """MNIST, or the digits that come with a package where it is not prepared, which is said."""
    experiment = load_preset("dcgan")
    if not tiny:
        try:
            return build_source(experiment), ""
        except RunError:
            pass
    small = dataclasses.replace(experiment, data=Component("mnist_5k"))
    return build_source(small), "" if tiny else "on the 5,000 digits of mnist_5k: MNIST is not prepared here"


def experiment_of(tiny: bool) -> Experiment:
    """The preset `dcgan` with four sheets and two checkpoints, or four steps of something narrow."""
    experiment = load_preset("dcgan")
    if tiny:
        model = Component("dcgan", {**experiment.model.options, "width": 8})
        small = {"steps": 4, "batch_size": 8, "log_every": 2, "sample_every": 4, "save_every": 4, "steps_per_call": 2}
        return with_run(dataclasses.replace(experiment, model=model), **small)
    steps = EPOCHS * EXAMPLES // experiment.run.batch_size
    # the score that costs nothing: what is timed is the training
    return with_run(
        experiment,
        steps=steps,
        log_every=500,
        sample_every=12_500,
        save_every=25_000,
        best_by="sliced_wasserstein",
    )


def seconds_of_steps(logs: Sequence[Mapping[str, float]]) -> list[float]:
    """Seconds a step from each log to the next."""
    return [(b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairwise(logs)]


def trained(experiment: Experiment, source: Source, note: str, tiny: bool, out: Path | None) -> Row:
    plan, precision = build_plan(experiment, source.spec), experiment.precision[0]
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "run"
        began = time.perf_counter()
        if status := run(plan, source, folder):
            raise RunError(f"the training ended with {status}")
        seconds = time.perf_counter() - began
        logs = read_metrics(folder / METRICS_FILE)
        loaded = load_run(folder)
        x = sampling.sample(loaded.method, sampling.weights_of(loaded.state)[0], n=100 if tiny else DIGITS, seed=0)
        if out is not None:
            shutil.copy(folder / METRICS_FILE, out / f"metrics-{precision}.jsonl")
    digits = np.clip(np.round(127.5 * (x[..., 0] + 1)), 0, 255).astype(np.uint8)
    if out is not None:
        np.savez_compressed(out / f"digits-{precision}.npz", x=digits)
        sheet = digits[:100].reshape(10, 10, 28, 28).swapaxes(1, 2).reshape(280, 280)
        Image.fromarray(sheet).resize((840, 840), Image.Resampling.NEAREST).save(out / f"digits-{precision}.png")
    values = {
        "seconds": round(seconds, 1),
        "steps": plan.run.steps,
        "seconds_outside_loop": round(seconds - logs[-1]["seconds"], 1),
        "seconds_to_first_log": round(logs[0]["seconds"], 1),
        "ms_a_step_between_logs": round(1e3 * median(seconds_of_steps(logs)), 3),
        "device": jax.local_devices()[0].device_kind,
    }
    holds = bool(np.isfinite(x).all()) and (tiny or (float(digits.std()) > SHADES and seconds < GOAL))
    return Row(f"dcgan, {EPOCHS} epochs of MNIST, {precision}", values, holds, note)
