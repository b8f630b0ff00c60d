"""Rows of mode coverage on Stacked MNIST: three digits as colours, 1,000 modes.

The protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086): 26,000 samples, a classifier of digits names the mode of
each channel by channel, a mode is covered if it has a sample, and the reverse KL is that of the samples' modes against
equal shares. The classifier is trained here, on the digits that the data are stacked of, and the row reports how many
held-out ones it gets right, and what the data themselves would score. Runs of several seeds come one after another.

The rows are the ablation of R3GAN (Huang et al. 2024, arXiv:2501.05441) by the preset `stacked-mnist`: as it is, with
the non-saturating loss, and without R2. The preset is a reduced protocol; for finished runs of any other size:

python -m genjax_art.benchmark stacked_mnist RUN [RUN ...] [--json FILE]
"""

import dataclasses
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from genjax_art import sampling
from genjax_art.benchmark.digit_classifier import DIGITS, Judge, fit_judge
from genjax_art.build import build_plan, build_source, load_preset
from genjax_art.config import Component, Experiment, with_run
from genjax_art.data.batches import to_range
from genjax_art.data.sets.stacked_mnist import NAME, StackedSource
from genjax_art.errors import RunError, UsageError
from genjax_art.metrics.modes import Coverage, class_coverage, noise_floor
from genjax_art.objectives.method import Method, Weights
from genjax_art.options import parse
from genjax_art.run.feed import stream_of
from genjax_art.run.load import load_run
from genjax_art.run.training import compile_plan, initial_state
from genjax_art.train.loop import Hook, train
from genjax_art.train.process import prepare_process
from genjax_art.train.state import TrainState

SAMPLES = 26_000
PIECE = 2_600  # of them at a time in memory
SEEDS = 1
LOOKS = 4  # times that a run is measured, the last time at its end
JUDGE_STEPS = 1200  # of the classifier; set by hand, and its accuracy on held-out digits is measured and printed
FULL = 50 * 128_000  # pictures that PacGAN's runs see
PRESET = "stacked-mnist"
# what a row's objective has otherwise than the preset
ROWS: Mapping[str, Mapping[str, Any]] = {
    PRESET: {},
    f"{PRESET}-gan": {"loss": "non_saturating"},
    f"{PRESET}-r1": {"penalties": {"r2": 0.0}},
}
# Modes and reverse KL; None: the run failed. DCGAN, PacDCGAN2: arXiv:1712.04086; the others: arXiv:2501.05441.
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float] | None]] = {
    PRESET: {
        "DCGAN": (99, 3.40),
        "PacDCGAN2": (1000, 0.06),
        "RpGAN+R1+R2": (1000, 0.0781),
        "R3GAN": (1000, 0.029),
    },
    f"{PRESET}-gan": {"GAN+R1+R2": (693, 0.927)},
    f"{PRESET}-r1": {"RpGAN+R1": None},
}


@dataclass(frozen=True)
class Ground:
    """What runs are measured against: the data, the judge, and what the data themselves score."""

    source: StackedSource
    judge: Judge
    data: Coverage

    def row(self) -> dict[str, Any]:
        return {
            "digits": self.source.origin,
            "classifier_accuracy": self.judge.accuracy,
            "classifier_held_out": self.judge.held_out,
            "samples": SAMPLES,
            "floor": noise_floor(len(self.data.counts), SAMPLES),
            "data": score(self.data),
        }


def ground_of(data: Component) -> Ground:
    """What runs on `data` are measured against."""
    return _ground(data.name, tuple(sorted(data.options.items())))


@functools.cache
def _ground(name: str, options: tuple[tuple[str, Any], ...]) -> Ground:
    """The same for all rows of a command, so it is made once."""
    data = Component(name, dict(options))
    source, held_out = (_stacked(data, split) for split in ("train", "test"))
    judge = fit_judge(source.digits, held_out.digits, steps=JUDGE_STEPS)
    starts = range(0, SAMPLES, PIECE)
    pieces = (source.take(np.arange(s, min(s + PIECE, SAMPLES)) % len(source))["x"] for s in starts)
    found = [found_in(to_range(x, source.spec), judge) for x in pieces]
    return Ground(source, judge, class_coverage(np.concatenate(found), DIGITS))


def _stacked(data: Component, split: str) -> StackedSource:
    experiment = dataclasses.replace(load_preset(PRESET), data=data)
    source = build_source(experiment, split)
    if not isinstance(source, StackedSource):
        raise UsageError(f"modes of three digits are counted on {NAME}, not on {data.name}")
    return source


def found_in(x: np.ndarray, judge: Judge) -> np.ndarray:
    """The digits [n, 3] that the judge sees in the channels of pictures, as they would be written."""
    channels = np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:-1], 1)
    return judge.classes(np.clip(channels, -1.0, 1.0)).reshape(len(x), -1)


def count_modes(method: Method, weights: Weights, judge: Judge, seed: int) -> Coverage:
    """The modes of `SAMPLES` pictures, drawn with the moving average."""
    sizes = [min(PIECE, SAMPLES - start) for start in range(0, SAMPLES, PIECE)]
    drawn = (sampling.sample(method, weights, n=n, seed=len(sizes) * seed + i) for i, n in enumerate(sizes))
    return class_coverage(np.concatenate([found_in(x, judge) for x in drawn]), DIGITS)


def score(found: Coverage) -> dict[str, float | int | None]:
    """Modes and reverse KL; none of that (None, for JSON) where nothing was drawn."""
    return {"modes": found.modes, "reverse_kl": None if math.isnan(found.reverse_kl) else found.reverse_kl}


def experiment_of(name: str, steps: int | None) -> Experiment:
    """The preset with what the row `name` has otherwise."""
    preset = load_preset(PRESET)
    options = dict(preset.objective.options)
    for option, value in ROWS[name].items():
        options[option] = {**options[option], **value} if isinstance(value, Mapping) else value
    objective = Component(preset.objective.name, options)
    return with_run(dataclasses.replace(preset, objective=objective), steps=steps or preset.run.steps)


def measure(name: str, k: int, steps: int | None = None) -> dict[str, Any]:
    """The row `name` of k seeds, each of so many steps (None: those of the preset)."""
    experiment = experiment_of(name, steps)
    ground = ground_of(experiment.data)

    def say(words: str) -> None:
        print(f"{name}, {words}", file=sys.stderr, flush=True)

    say(f"classifier: {ground.judge.accuracy:.2%} of {ground.judge.held_out} held-out digits")
    runs = [run(with_run(experiment, seed=seed), ground, say) for seed in range(k)]
    return summary(name, experiment, runs) | ground.row()


def run(experiment: Experiment, ground: Ground, say: Callable[[str], None]) -> dict[str, Any]:
    """One training; what it scores at its end, and before, and why it failed if it did."""
    plan = build_plan(experiment, ground.source.spec)
    compiled, began = compile_plan(plan, "jit"), time.monotonic()
    seed, steps = plan.run.seed, plan.run.steps
    history: list[dict[str, Any]] = []

    def look(step: int, state: TrainState) -> None:
        history.append(
            {"step": step, **score(count_modes(plan.method, sampling.weights_of(state)[0], ground.judge, seed))}
        )
        say(f"seed {seed}, step {step} of {steps}: {words_of(history[-1])}")

    stream, hook = stream_of(plan, ground.source, 0), Hook(-(-steps // LOOKS), look)
    failed = ""
    try:
        train(compiled, compiled.put_state(initial_state(plan)), stream, steps=steps, hooks=[hook])
    except RunError as error:  # a loss is not finite: that is a result, too
        failed = str(error)
        say(f"seed {seed}: {failed}")
    stream.close()
    last = {"modes": 0, "reverse_kl": None} if failed else {k: history[-1][k] for k in ("modes", "reverse_kl")}
    seconds = time.monotonic() - began
    return {"seed": seed, **last, "failed": failed, "seconds": seconds, "history": history}


def summary(name: str, experiment: Experiment, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row: means and standard deviations over the seeds; a run that failed covers no mode and has no KL."""
    kl = [one["reverse_kl"] for one in runs if one["reverse_kl"] is not None]
    return {
        "name": name,
        "seeds": len(runs),
        "modes": float(np.mean([one["modes"] for one in runs])),
        "of_modes": DIGITS**3,
        "runs_with_all_modes": sum(one["modes"] == DIGITS**3 for one in runs),
        "reverse_kl": float(np.mean(kl)) if kl else None,
        "reverse_kl_sd": float(np.std(kl, ddof=1)) if len(kl) > 1 else 0.0,
        "failed_runs": sum(bool(one["failed"]) for one in runs),
        "steps": experiment.run.steps,
        "pictures_seen": experiment.run.steps * experiment.run.batch_size,
        "by_seed": list(runs),
    }


def words_of(scored: Mapping[str, Any]) -> str:
    kl = "none" if scored["reverse_kl"] is None else f"{scored['reverse_kl']:.3f}"
    return f"modes {scored['modes']:g}/{DIGITS**3}  reverse KL {kl}"


def lines(row: dict[str, Any]) -> list[str]:
    """The row, what it was measured with, and the published ones, as text."""
    size = "" if row["pictures_seen"] >= FULL else f", reduced protocol: full runs see {FULL:,}"
    text = [
        f"{row['name']:18s} {words_of(row)} ± {row['reverse_kl_sd']:.3f} "
        f"(all modes in {row['runs_with_all_modes']} of {row['seeds']} runs, {row['failed_runs']} failed)  "
        f"{row['seconds']:.0f} s",
        f"  {row['pictures_seen']:,} pictures seen{size}",
        *ground_lines(row),
    ]
    for method, figures in PUBLISHED[row["name"]].items():
        result = "fails" if figures is None else f"modes {figures[0]:g}  reverse KL {figures[1]:g}"
        text.append(f"  {method:16s} {result}  (published)")
    return text


def ground_lines(row: Mapping[str, Any]) -> list[str]:
    """What runs were measured with."""
    return [
        f"  digits of {row['digits']}; the classifier is right on {row['classifier_accuracy']:.2%} of "
        f"{row['classifier_held_out']} held-out ones",
        f"  {row['samples']} samples: a perfect sampler of equal shares {row['floor']:.3f}, "
        f"the data themselves {words_of(row['data'])}",
    ]


@dataclass(frozen=True)
class Command:
    """Count the modes of finished runs on Stacked MNIST."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that train.py made."""
    json: Path | None = None
    """Also write the rows here."""


def main(arguments: Sequence[str]) -> None:
    """Prints each run as it is measured."""
    command = parse(Command, arguments, "python -m genjax_art.benchmark stacked_mnist")
    prepare_process()
    table: list[dict[str, Any]] = []
    for folder in command.runs:
        run = load_run(folder)
        ground = ground_of(run.experiment.data)
        row = {"run": str(folder), "step": run.step, **ground.row()}
        row |= score(count_modes(run.method, run.weights, ground.judge, run.experiment.run.seed))
        table.append(row)
        print(f"{folder} step {row['step']}: {words_of(row)}", *ground_lines(row), sep="\n", flush=True)
        if command.json:
            command.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
