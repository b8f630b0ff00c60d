"""Which model for my data? python -m genjax_art.evaluate choose --data.name NAME [--data.OPTION ...] --budget 20m

Trains the sensible candidates on your data, each for the same share of the budget, measures all of them alike, and
recommends one with its reasons. All other options are those of train.py, and go to every candidate.
"""

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import jax
import tyro
from rich.box import SIMPLE
from rich.table import Table

from genjax_art import cli
from genjax_art.build import build_plan, build_source, on_data_of, placed
from genjax_art.data.contract import Source
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.evaluate import judged, page, tables
from genjax_art.evaluate.command import Judging
from genjax_art.evaluate.judged import Judged
from genjax_art.metrics.record import Record
from genjax_art.metrics.seen import KS
from genjax_art.options import parse
from genjax_art.parts import outside
from genjax_art.run.held_out import A_PART, NothingHeldOut, held_out
from genjax_art.run.layout import claim
from genjax_art.run.training import run as train
from genjax_art.spec import ArraySpec
from genjax_art.train.process import prepare_process
from genjax_art.train.rows import METRICS_FILE, read_metrics

PROBE = 12  # steps of a candidate to know its speed; the last four are timed
LEAST = 20  # steps that a candidate must have within its share
FEW = 3000  # examples of a set for which one is tried that is meant for few
FIGURE = "KD-own"  # by which candidates are ranked: unbiased, so that it holds for small sets, too


@dataclass(frozen=True)
class Candidate:
    """A preset with options; `good_for` is what its kind can do."""

    name: str
    preset: str
    words: tuple[str, ...]
    good_for: str
    styles: bool = False  # needs data with styles
    most: int | None = None  # examples up to which it is sensible


CANDIDATES = (
    Candidate("vae", "conv-vae", (), "soft pictures; reads, varies and blends your own"),
    Candidate("vae-gan", "vae-gan", (), "sharper pictures; reads, varies and blends your own"),
    Candidate(
        "wgan-gp",
        "dcgan-small",
        ("--objective.loss", "wasserstein", "--objective.penalties.wgan-gp", "10", "--model.generator-norm", "batch"),
        "steady, slower: further penalties in each step",
    ),
    Candidate("non-saturating-r1", "dcgan-small", ("--objective.penalties.r1", "0.05"), "sharp pictures, quickly"),
    Candidate(
        "relativistic-r1-r2",
        "dcgan-small",
        (
            *("--objective.loss", "relativistic"),
            *("--objective.penalties.r1", "0.05", "--objective.penalties.r2", "0.05"),
        ),
        "sharp and varied pictures, with longer training",
    ),
    Candidate("augmented", "pictures", (), "few pictures, which a discriminator would learn by heart", most=FEW),
    Candidate("can", "can-icons", (), "pictures between the styles, by intent", styles=True),
)


@dataclass(frozen=True)
class ChooseCommand:
    """Train candidates on your data within a budget, measure them, and recommend one."""

    budget: str = "20m"
    """Time for all trainings together: 90s, 20m, 2h."""
    candidates: tuple[str, ...] = ()
    """Which of vae, vae-gan, wgan-gp, non-saturating-r1, relativistic-r1-r2, augmented, can (default: all that fit the
    data)."""
    features: str | None = None
    """What sees the examples (default: by the data's labels, where there are some)."""
    n: int = 1000
    """How many samples are measured."""
    out: Path = Path("runs/choose")
    """Folder of the runs and of the page; it must not hold any of them yet."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate with what its training and its samples took."""

    candidate: Candidate
    judged: Judged
    seconds: float
    samples_per_second: float

    @property
    def parameters(self) -> int:
        return sum(int(leaf.size) for leaf in jax.tree.leaves(self.judged.subject.run.state.params))


def choose(arguments: Sequence[str]) -> int:
    """Runs the command; 0, or the status of a training that was interrupted."""
    own, words = split(arguments)
    command = parse(ChooseCommand, own, "python -m genjax_art.evaluate choose [--data.OPTION ...]", __doc__)
    budget = seconds_of(command.budget)
    prepare_process()
    like = cli.parse_train(["conv-vae", *words])  # its data are everybody's
    like = _with_held_out(like)  # before anything is trained
    source, tried = build_source(like.experiment), []
    chosen = select(command.candidates, source)
    judging = Judging(features=command.features, n=command.n, **_named(like, source))
    judging.check()
    for candidate in chosen:
        if (taken := command.out / candidate.name).exists():  # asked of all, before the first is trained
            raise RunError(f"{taken} is there already, and nothing is overwritten: name another folder with --out")
    for candidate in chosen:
        asked = [candidate.preset, *candidate.words, *_fitting(candidate, source.spec), *words]
        folder = command.out / candidate.name
        status, seconds = _train(asked, folder, like, source, budget / len(chosen))
        if status:
            return status
        one = judged.judge(folder, judging)
        tried.append(Tried(candidate, one, seconds, _speed(one)))
    _print(tried)
    found = [one.judged for one in tried]
    tables.print_rows(found)
    print(recommend(tried))
    page.write(found, command.out / "evaluation")
    print(f"written: {command.out / 'evaluation' / page.PAGE}")
    return 0


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of this command, and those for the trainings."""
    ours = {"-h", "--help", *(f"--{field.name}" for field in fields(ChooseCommand))}
    own: list[str] = []
    rest: list[str] = []
    into = rest
    for word in arguments:
        if word.startswith("-"):
            into = own if word.partition("=")[0] in ours else rest
        into.append(word)
    return own, rest


def seconds_of(budget: str) -> float:
    """Seconds of a time as 90s, 20m or 2h.

    Raises:
      UsageError: another word, or no time at all.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if not found or not float(found[1]) > 0:
        raise UsageError(f"--budget must be a time as 90s, 20m or 2h, got {budget!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def select(names: Sequence[str], source: Source) -> list[Candidate]:
    """The candidates of these names; without names all that the data allow.

    Raises:
      UsageError: there is none of that name, or the data are no pictures or lack what it needs.
    """
    if len(source.spec.space) != 2 or source.spec.channels not in (1, 3):
        raise UsageError(f"choose is for pictures of 1 or 3 channels, not for arrays {source.spec.shape}")
    known = {candidate.name: candidate for candidate in CANDIDATES}
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise unknown("candidate", name, known)
        if known[name].styles and len(source.spec.classes) < 2:
            raise UsageError(f"candidate {name} needs data with labels of two styles or more")
    styled = len(source.spec.classes) >= 2
    fitting = [
        one for one in CANDIDATES if (styled or not one.styles) and (one.most is None or len(source) <= one.most)
    ]
    return [known[name] for name in names] or fitting


def _with_held_out(like: cli.TrainCommand) -> cli.TrainCommand:
    """The command, on a part of the data where nothing else would be held out.

    Raises:
      UsageError: too little is held out to measure by.
    """
    experiment = placed(like.experiment)
    try:
        held = held_out(experiment, None)
    except NothingHeldOut:
        options = {**experiment.data.options, "split": A_PART}
        experiment = replace(experiment, data=replace(experiment.data, options=options))
        held = held_out(experiment, None)
        print(f"candidates are trained on {A_PART}, and measured by the rest: --data.split", file=sys.stderr)
    if len(held) <= max(KS):
        raise UsageError(f"{len(held)} examples are held out: to measure candidates it takes more than {max(KS)}")
    return replace(like, experiment=experiment)


def _named(like: cli.TrainCommand, source: Source) -> dict[str, Any]:
    """What the user's own words name of data and code, which the runs made of them may, too."""
    data = like.experiment.data
    place = data.options.get("data_dir")
    return {"data_dir": None if place is None else Path(place), "trust": tuple(outside([source.spec.kind, data.name]))}


def _fitting(candidate: Candidate, spec: ArraySpec) -> list[str]:
    """Options that the data ask for."""
    words = []
    if candidate.preset == "conv-vae" and spec.channels > 1:
        words += ["--objective.likelihood", "gaussian"]
    if candidate.preset == "pictures" and spec.channels == 1:
        words += ["--objective.augmentations", "translation"]  # grey has no colours to change
    if candidate.preset == "vae-gan" and len(spec.classes) < 2:
        words += ["--model.generator-norm", "batch"]
    if candidate.preset in ("dcgan-small", "pictures", "vae-gan"):
        words += ["--model.conditional" if len(spec.classes) >= 2 else "--model.no-conditional"]
    return words


def _train(
    words: Sequence[str], folder: Path, like: cli.TrainCommand, source: Source, share: float
) -> tuple[int, float]:
    """Trains for about `share` seconds, compiling included: status and seconds.

    The speed is known from a few steps before, in a folder that is not kept.
    """
    began = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
        probe = Path(aside) / "probe"
        often = ["--log-every", "4", "--sample-every", "0", "--save-every", str(PROBE)]
        status = _run([*words, *often, "--steps", str(PROBE), "--run-dir", str(probe)], like, source)
        if status:
            return status, 0.0
        spent, step = time.monotonic() - began, _seconds_per_step(probe)
    steps = int((share - 2 * (spent - PROBE * step)) / step)  # compiled once more
    if steps < LEAST:
        print(f"{folder.name}: {share:.0f} s are too short for {LEAST} steps, which it gets", file=sys.stderr)
        steps = LEAST
    began = time.monotonic()
    every = ["--save-every", str(steps), "--sample-every", "0"]
    status = _run([*words, *every, "--steps", str(steps), "--run-dir", str(folder)], like, source)
    return status, time.monotonic() - began


def _seconds_per_step(folder: Path) -> float:
    first, last = read_metrics(folder / METRICS_FILE)[-2:]
    return (last["images"] - first["images"]) / last["images_per_second"] / (last["step"] - first["step"])


def _run(words: Sequence[str], like: cli.TrainCommand, source: Source) -> int:
    command = cli.parse_train(words)
    experiment = placed(on_data_of(command.experiment, like.experiment))
    with claim(command.run_dir, experiment.name, experiment.run.steps, resume=False) as folder:
        return train(build_plan(experiment, source.spec), source, folder, how=command.parallel)


def _speed(one: Judged) -> float:
    """Samples a second, compiled."""
    n = min(250, len(one.subject.made))
    one.subject.run.sample(n)
    began = time.perf_counter()
    one.subject.run.sample(n, seed=1)
    return n / (time.perf_counter() - began)


def _print(tried: Sequence[Tried]) -> None:
    table = Table(title="candidates, each for the same time", title_justify="left", box=SIMPLE)
    for head in ("", "verdict", FIGURE, "recall", "copies", "trained", "steps", "samples/s", "parameters", "good for"):
        table.add_column(head)
    for one in tried:
        rows = one.judged.rows
        figures = [tables.shown(rows[name].samples) if name in rows else "" for name in (FIGURE, "recall", "copy_rate")]
        table.add_row(
            one.candidate.name,
            str(one.judged.found.get("verdict", "")),
            *figures,
            f"{one.seconds:.0f} s",
            str(one.judged.subject.run.step),
            f"{one.samples_per_second:,.0f}",
            f"{one.parameters:,}",
            one.candidate.good_for,
        )
    tables.show(table, 2 * tables.WIDTH)


def recommend(tried: Sequence[Tried]) -> str:
    """The one with the lowest kernel distance among those that are not vetoed, and whether the next one is worse for
    sure; copies and rubbish are no choice."""
    fine = [one for one in tried if not one.judged.found.get("vetoed", True) and FIGURE in one.judged.rows]
    vetoed = [one.candidate.name for one in tried if one not in fine]
    out = f" Vetoed: {', '.join(vetoed)}." if vetoed else ""
    if not fine:
        measured = [one for one in tried if FIGURE in one.judged.rows]
        nearest = min(measured, key=lambda one: _figure(one).value, default=None)
        near = "" if nearest is None else f" Nearest to the data: {nearest.candidate.name} ({_why(nearest)})."
        return f"No recommendation: every candidate copies or lies off the data; try a larger --budget.{near}{out}"
    ranked = sorted(fine, key=lambda one: _figure(one).value)
    best = ranked[0]
    why = _why(best)
    if len(ranked) > 1:
        second = ranked[1]
        sure = "surely" if _figure(best).high < _figure(second).low else "perhaps"
        why += f"; {sure} nearer to the data than {second.candidate.name} ({tables.shown(_figure(second))})"
    return f"Recommended: {best.candidate.name} ({why}). It is for {best.candidate.good_for}.{out}"


def _why(one: Tried) -> str:
    return f"{FIGURE} {tables.shown(_figure(one))}, {one.judged.found.get('because', 'no verdict')}"


def _figure(one: Tried) -> Record:
    return one.judged.rows[FIGURE].samples
