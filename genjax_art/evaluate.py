"""Measure a trained run: python -m genjax_art.evaluate RUN [--metrics NAME ...] [--json FILE].

A measure is a file in `metrics/` with `measure`, or a function of yours, `my_module:measure`. Music: every measure
beside the band of held-out pieces, Frechet distance, copies, reconstruction, latent space.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from genjax_art import cli, metrics, parts
from genjax_art.build import build_source
from genjax_art.errors import RunError, UsageError
from genjax_art.options import parse


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure a run on held-out data."""

    run: Annotated[Path, tyro.conf.Positional]
    """A folder that train.py made."""
    metrics: tuple[str, ...] = ()
    """Names of measures, or my_module:measure (default: those of the medium)."""
    n: int = 1000
    """How many samples are measured; of held-out music all pieces are."""
    seed: int = 0
    """Of the samples."""
    split: str = "test"
    """The held-out data."""
    checkpoint: str = "latest"
    """latest, best or a step."""
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure the parameters themselves instead of their moving average."""
    data_dir: Path | None = None
    """Where prepared sets lie; needed where the run names another directory than the default one."""
    folder: Path | None = None
    """Where your files lie now, if they were moved since the training."""
    json: Path | None = None
    """Write the numbers there too."""
    trust: tuple[str, ...] = ()
    """Modules from outside this package that the run names and that may be imported."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    @property
    def which(self) -> Literal["raw", "default"]:
        return "raw" if self.raw else "default"


def evaluate(arguments: Sequence[str]) -> int:
    command = parse(EvaluateCommand, arguments, "python -m genjax_art.evaluate")
    if command.n < 2:
        raise UsageError(f"--n must be at least 2, got {command.n}")
    measures = {name: _measure(name) for name in command.metrics}
    from genjax_art.data.batches import to_range
    from genjax_art.metrics.subject import Subject
    from genjax_art.run.load import load_run
    from genjax_art.run.world import check_trusted, describe_change, moved
    from genjax_art.train.process import prepare_process

    prepare_process()
    run = load_run(command.run, command.checkpoint, which=command.which, trust=command.trust)
    given = {"data_dir": command.data_dir, "folder": command.folder}
    check_trusted(command.run, run.experiment.data, given, "--data-dir")
    experiment = moved(run.experiment, given)
    known = build_source(experiment)
    if change := describe_change(command.run, known):
        print(f"the data have changed since {command.run} was trained: {change}", file=sys.stderr)
    measures = measures or {name: _measure(name) for name in run.medium.metrics}
    held = build_source(experiment, command.split)
    for name, data in ((command.split, held), ("training", known)):
        if len(data) < 2:
            raise RunError(f"the {name} data has {len(data)} example: measures need at least 2; see --split")
    subject = Subject(
        spec=run.spec,
        made=run.sample(command.n, command.seed),
        held=held,
        known=known,
        in_range=lambda x: to_range(x, run.spec),
        run=run,
    )
    report = dict(run.about(command.seed)) | {"n": command.n}
    for measure in measures.values():
        found = measure(subject)
        print_numbers({name: value for name, value in found.items() if not isinstance(value, Mapping)})
        report |= found
    if command.json is not None:
        command.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _measure(name: str) -> parts.Part:
    return parts.find(metrics, name, kind="measure", function="measure")


def print_numbers(numbers: Mapping[str, Any]) -> None:
    width = max(map(len, numbers), default=0)
    for name, value in numbers.items():
        words = " ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {words:.4f}" if isinstance(words, float) else f"{name:<{width}}  {words}")


if __name__ == "__main__":
    from genjax_art.evaluate import evaluate as command  # under its own name, so that its errors are known as ours

    cli.main(command)
