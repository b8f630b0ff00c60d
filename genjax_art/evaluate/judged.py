"""A run with all that the measures have found."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from genjax_art import build, metrics, parts, sampling
from genjax_art.data.batches import to_range
from genjax_art.data.contract import Source
from genjax_art.errors import RunError
from genjax_art.evaluate.command import Judging
from genjax_art.features.extractor import Extractor, build_extractor, usual_extractor
from genjax_art.features.seeing import see
from genjax_art.metrics.row import Row
from genjax_art.metrics.seen import Sees
from genjax_art.metrics.subject import Subject
from genjax_art.run import load
from genjax_art.run.held_out import held_out
from genjax_art.run.world import check_trusted, describe_change, moved

USUAL = Judging()
NOT_MEASURED = "not measured: "


@dataclass(frozen=True, eq=False)
class Judged:
    """`found` has what the measures gave, by name: a `Row`, a number, a word, a list of them, or details."""

    folder: Path
    about: Mapping[str, Any]
    subject: Subject
    found: Mapping[str, Any]
    name: str  # among others

    @property
    def rows(self) -> dict[str, Row]:
        return {name: value for name, value in self.found.items() if isinstance(value, Row)}


def find_measures(names: Sequence[str]) -> dict[str, parts.Part]:
    """The measures of these names.

    Raises:
      UsageError: there is none.
    """
    return {name: parts.find(metrics, name, kind="measure", function="measure") for name in names}


def judge(folder: Path, how: Judging = USUAL, measures: Mapping[str, parts.Part] | None = None) -> Judged:
    """Everything that is to be measured of one run: `measures` (see `find_measures`), or those of its medium.

    Raises:
      UsageError: as `Judging.check`. RunError: no such run, data that cannot be had or are too few, code that is not
        trusted.
    """
    how.check()
    run = load.load_run(folder, how.checkpoint, which=how.which, trust=how.trust)
    given = {"data_dir": how.data_dir, "folder": how.folder}
    check_trusted(folder, run.experiment.data, given, "--data-dir")
    experiment = moved(run.experiment, given)
    known = build.build_source(experiment)
    if change := describe_change(folder, known):
        print(f"the data have changed since {folder} was trained: {change}", file=sys.stderr)
    held = held_out(experiment, how.split)
    for name, data in (("held-out", held), ("training", known)):
        if len(data) < 2:
            raise RunError(f"the {name} data has {len(data)} example: measures need at least 2; see --split")

    own = cache(lambda name: build_extractor(name, known, held))

    @cache
    def extractor() -> Extractor:
        if how.inception is not None:
            return build_extractor("inception_v3", known, held, weights=how.inception)
        return own(how.features or usual_extractor(known))

    if how.inception is not None:
        extractor()  # a file that is none is told before anything is measured

    def in_range(x: np.ndarray) -> np.ndarray:
        return to_range(x, run.spec)

    n = run.medium.judged if how.n is None else how.n
    asked = asked_of(run, known, n, how.seed)
    made = run.sample(n, how.seed, asked)
    subject = Subject(
        spec=run.spec,
        made=made,
        held=held,
        known=known,
        in_range=in_range,
        run=run,
        look=lambda: see(extractor(), made, held, known, in_range),
        extractors=own,
        seed=how.seed,
        asked=asked,
    )
    about: dict[str, Any] = {**run.about(how.seed), "n": n}
    found: dict[str, Any] = {}
    for name, measure in (measures or find_measures(run.medium.metrics)).items():
        try:
            found |= subject.once(measure)
        except Exception as error:
            ours = name in parts.names(metrics, "measure")
            if ours and name not in run.medium.metrics and not isinstance(error, RunError):
                usual = ", ".join(run.medium.metrics)
                raise RunError(f"{name} is no measure of arrays of kind {run.spec.kind}; usual: {usual}") from error
            if not isinstance(error, RunError) and not _of_a_measure(error):
                raise
            if measures:  # asked for by name
                raise RunError(f"{name} cannot be measured: {error}") from error
            found[name] = f"{NOT_MEASURED}{error}"
    if found and all(isinstance(value, str) and value.startswith(NOT_MEASURED) for value in found.values()):
        raise RunError(f"nothing of {folder} can be measured: {next(iter(found.values())).removeprefix(NOT_MEASURED)}")
    if subject.looked:
        about |= _about(subject.seen.extractor)
    return Judged(folder, about, subject, found, folder.name or str(folder))


def _of_a_measure(error: Exception) -> bool:
    """Whether a measure of ours says so of its arguments: too few, all the same, not finite."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error, ValueError) and str(frame.f_globals.get("__name__")).startswith("genjax_art.metrics.")


def told_apart(found: Sequence[Judged]) -> list[Judged]:
    """The same, with names of as many folders as tell them apart: of one/run and two/run not the last alone."""
    for depth in range(1, max(1, *(len(one.folder.parts) for one in found)) + 1):
        names = ["/".join(one.folder.parts[-depth:]) for one in found]
        if len(set(names)) == len({one.folder for one in found}):
            break
    return [replace(one, name=name or one.name) for one, name in zip(found, names, strict=True)]


def asked_of(run: Any, known: Source, n: int, seed: int) -> Int[np.ndarray, " n"] | None:
    """The labels to ask of a run that is compared with these data: each class as often as there."""
    if run.method.classes and run.method.classes == known.spec.classes:
        return sampling.labels_like(known, n, seed)
    return run.labels(n, seed)


def _about(extractor: Sees) -> dict[str, Any]:
    words = {"extractor": extractor.name, "extractor_hash": extractor.digest, "resize": extractor.resize}
    return words if extractor.accuracy is None else {**words, "extractor_accuracy": round(extractor.accuracy, 4)}
