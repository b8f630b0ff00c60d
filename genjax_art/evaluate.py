"""Measure a trained run: python -m genjax_art.evaluate RUN [--metrics NAME ...] [--json FILE].

A measure is a file in `metrics/` with `measure`, or a function of yours, `my_module:measure`. Music: every measure
beside the band of held-out pieces, Frechet distance, copies, reconstruction, latent space.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from genjax_art import interrupts


def evaluate(arguments: Sequence[str]) -> int:
    from genjax_art import cli

    command = cli.parse_evaluate(arguments)
    from genjax_art import metrics, parts
    from genjax_art.build import build_source
    from genjax_art.data.batches import to_range
    from genjax_art.errors import RunError
    from genjax_art.metrics.subject import Subject
    from genjax_art.run.load import load_run
    from genjax_art.run.world import check_trusted, describe_change, moved
    from genjax_art.train.process import prepare_process

    def find(names: Sequence[str]) -> dict[str, parts.Part]:
        return {name: parts.find(metrics, name, kind="measure", function="measure") for name in names}

    measures = find(command.metrics)
    prepare_process()
    run = load_run(command.run, command.checkpoint, which=command.which, trust=command.trust)
    given = {"data_dir": command.data_dir, "folder": command.folder}
    check_trusted(command.run, run.experiment.data, given, "--data-dir")
    experiment = moved(run.experiment, given)
    known = build_source(experiment)
    if change := describe_change(command.run, known):
        print(f"the data have changed since {command.run} was trained: {change}", file=sys.stderr)
    measures = measures or find(run.medium.metrics)
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


def print_numbers(numbers: Mapping[str, Any]) -> None:
    width = max(map(len, numbers), default=0)
    for name, value in numbers.items():
        words = " ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {words:.4f}" if isinstance(words, float) else f"{name:<{width}}  {words}")


if __name__ == "__main__":
    interrupts.main(evaluate)
