"""Measure a trained run: python -m genjax_art.evaluate RUN [--json FILE].

Music: every measure beside the band of held-out pieces, Frechet distance, copies, reconstruction, latent space.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from genjax_art import cli
from genjax_art.build import Plan, build_method, build_plan, build_source, complete
from genjax_art.config import Component, Experiment
from genjax_art.errors import RunError, UsageError
from genjax_art.train.state import TrainState


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure a run on held-out data."""

    run: Annotated[Path, tyro.conf.Positional]
    """A folder that train.py made."""
    n: int = 1000
    """How many samples are measured; of held-out data all are."""
    seed: int = 0
    """Of the samples."""
    split: str = "test"
    """The held-out data."""
    checkpoint: str = "latest"
    """latest, best or a step."""
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure the parameters themselves instead of their moving average."""
    json: Path | None = None
    """Write the numbers there too."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    @property
    def which(self) -> Literal["raw", "default"]:
        return "raw" if self.raw else "default"


Report = Callable[[EvaluateCommand, Experiment, Plan, TrainState], dict[str, Any]]


def evaluate(arguments: Sequence[str]) -> int:
    command = tyro.cli(EvaluateCommand, args=list(arguments), prog="python -m genjax_art.evaluate")
    from genjax_art import drawing
    from genjax_art.runs import read_config
    from genjax_art.train.compile import prepare_process

    prepare_process()
    config, spec = read_config(command.run)
    experiment = complete(cli.read_experiment(config, command.run))
    if spec.kind not in REPORTS:
        raise RunError(f"{command.run} draws arrays of kind {spec.kind}; measures exist for: {', '.join(REPORTS)}")
    if command.n < 1:
        raise UsageError(f"--n must be at least 1, got {command.n}")
    plan = build_plan(experiment, spec)
    state = drawing.load_state(plan, command.run, command.checkpoint)
    report = REPORTS[spec.kind](command, experiment, plan, state)
    report = {**drawing.metadata(plan, state, command.seed, command.which), **report}
    if command.json is not None:
        command.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def music(command: EvaluateCommand, experiment: Experiment, plan: Plan, state: TrainState) -> dict[str, Any]:
    """Prints and returns the numbers of `music_report.py`."""
    from genjax_art import music_report, sampling
    from genjax_art.data.batches import to_range

    heldout, training = build_source(experiment, command.split), build_source(experiment)
    held = heldout.take(np.arange(len(heldout)))
    rows = training.take(np.arange(len(training)))
    known = rows["x"][rows["transposition"] == 0] if "transposition" in rows else rows["x"]
    x = sampling.sample(plan.method, state, n=command.n, seed=command.seed, which=command.which)
    x_held = to_range(held["x"], plan.spec)
    bands, report = music_report.sample_report(
        music_report.binary_rolls(x, plan.spec),
        music_report.binary_rolls(x_held, plan.spec),
        held.get("piece"),
        (known > known.max() / 2).astype(np.uint8),
    )
    print(bands)
    if plan.method.encode is not None:
        params, extras, _ = sampling.parameters(plan.method, state, which=command.which)
        report |= music_report.latent_report(likeliest(experiment, plan), params, extras, x_held, plan.spec)
    print_numbers({name: value for name, value in report.items() if name not in ("bands", "inside", "measures")})
    return report


def likeliest(experiment: Experiment, plan: Plan) -> Any:
    """The method, decoding the likeliest tokens where it otherwise draws them."""
    options = experiment.objective.options
    if "temperature" not in options:
        return plan.method
    objective = Component(experiment.objective.name, {**options, "temperature": 0.0})
    return build_method(dataclasses.replace(experiment, objective=objective), plan.spec)


def print_numbers(numbers: Mapping[str, Any]) -> None:
    width = max(map(len, numbers), default=0)
    for name, value in numbers.items():
        words = " ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {words:.4f}" if isinstance(words, float) else f"{name:<{width}}  {words}")


REPORTS: Mapping[str, Report] = {"roll": music}


if __name__ == "__main__":
    cli.main(evaluate)
