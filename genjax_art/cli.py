"""The command lines of the entry scripts: words to an experiment or a verb, errors to one line and an exit status."""

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from genjax_art import interrupts, parts, verbs
from genjax_art.build import DEFAULT_PRESET, data_places, find_part, load_preset, placed, preset_names
from genjax_art.config import Component, Experiment, RunOptions, with_run
from genjax_art.ending import one_line
from genjax_art.errors import UsageError, unknown
from genjax_art.files import quoted
from genjax_art.options import Field, fields_of, make, parse, typed, untyped
from genjax_art.streams import open_streams

T = TypeVar("T")
DEFAULT_VERB = "grid"
# on --resume, by --changed
CHANGEABLE = ("model", "objective", "optimizers", "data", "ema_half_life", "ema_burn_in", "precision")
SAMPLE_USAGE = "sample.py RUN [VERB] [--options]"


@dataclass(frozen=True)
class TrainCommand:
    """What `train.py` was asked for."""

    experiment: Experiment
    run_dir: Path | None = None
    """Folder of the run (default: runs/NAME, with a number where that is finished)."""
    parallel: Literal["jit", "pmap", "mesh"] | None = None
    """jit: one device; pmap: all local devices, one program each; mesh: all devices, one program. Default: by their
    number."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --run-dir from its newest checkpoint."""
    changed: tuple[str, ...] = ()
    """With --resume: fields of the experiment that may differ from the run's: model, objective, optimizers, data,
    ema_half_life, ema_burn_in, precision."""
    trust: tuple[str, ...] = ()
    """Modules from outside this package that a resumed run names and that may be imported."""
    profile: int = 0
    """Instead of training, time and trace so many steps on one device, into the folder profile of --run-dir (default:
    runs/NAME), and print what they cost. Nothing else is read or written there."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""


@dataclass(frozen=True)
class Drawing:
    """From where a verb draws; options of every verb."""

    checkpoint: str = "latest"
    """latest, best or a step."""
    member: int = 0
    """Of a run with several seeds: which one, counted from 0."""
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Use the parameters themselves instead of their moving average."""
    ema: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Use the moving average, and fail where the run has none (default: use it where there is one)."""
    out: Path | None = None
    """The file to write; its ending says what: x.npz the arrays, x.png, x.gif, x.mp4, x.mid, x.wav as the medium can,
    no ending a folder of single samples, or of what is one piece the medium's usual files of that name. Default: those
    in the run folder, named after the verb."""
    trust: tuple[str, ...] = ()
    """Modules from outside this package that the run names and that may be imported."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    @property
    def which(self) -> Literal["raw", "ema", "default"]:
        return "raw" if self.raw else "ema" if self.ema else "default"


@dataclass(frozen=True)
class SampleCommand:
    """What `sample.py` was asked for: a verb with its options, and those of the medium's writer."""

    folder: Path
    verb: str
    draw: parts.Part
    options: Mapping[str, Any]
    writing: Mapping[str, Any]
    drawing: Drawing

    @property
    def reads(self) -> list[Path]:
        """The user's files that the verb reads."""
        given = [option if isinstance(option, tuple) else (option,) for option in self.options.values()]
        return [value for values in given for value in values if isinstance(value, Path)]


def parse_train(arguments: Sequence[str]) -> TrainCommand:
    """The command of `train.py [PRESET] [--options]`.

    On --resume the saved experiment takes the preset's place; only lengths may be changed, where the data lie, and what
    --changed names.

    Raises:
      UsageError, RunError: as `load_preset`, `typed` and `read_experiment` do. SystemExit: after --help.
    """
    arguments = expand_homes(arguments)
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    folder = _value(arguments, "--run-dir")
    saved = _saved(Path(folder), _values(arguments, "--trust")) if "--resume" in arguments and folder else None
    if saved is not None and name is not None and name != saved.name and not name.endswith(".py"):
        raise UsageError(f"{folder} is a run of {saved.name}, not of {name}; leave the preset out to resume it")
    base = saved or load_preset(name or DEFAULT_PRESET)
    options = typed(_renamed(base, arguments))
    experiment: Field = ("experiment", Annotated[type(options), tyro.conf.arg(name="")], options)
    others = [_field(TrainCommand, field) for field in dataclasses.fields(TrainCommand)[1:]]
    found: Any = parse(make("train", [experiment, *others]), arguments, "train.py [PRESET]", _train_help())
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(TrainCommand)[1:]}
    command = TrainCommand(untyped(found.experiment), **values)
    if command.resume and command.run_dir is None:
        raise UsageError("--resume needs --run-dir, the folder of the run to go on with")
    if command.profile < 0:
        raise UsageError(f"--profile must be a number of steps, at least 1, got {command.profile}")
    if command.profile and (command.resume or command.parallel not in (None, "jit")):
        raise UsageError("--profile makes steps of its own on one device: leave --resume and --parallel out")
    if command.changed and not command.resume:
        raise UsageError("--changed needs --resume: it says what may differ from the run's own experiment")
    if saved is not None:
        _check_resumed(Path(str(command.run_dir)), saved, command, arguments)
        _warn_of_idle_steps(command.experiment)
    return command


def parse_sample(arguments: Sequence[str]) -> SampleCommand:
    """The command of `sample.py RUN [VERB] [--options]`: the options are those of the verb and of the run's medium.

    Raises:
      UsageError: no run folder, an unknown verb, or --raw with --ema. RunError: no run there.
    """
    arguments = expand_homes(arguments)
    if not arguments or arguments[0].startswith("-"):
        if {"-h", "--help"} & set(arguments):
            parse(make("sample", _sample_fields(_verb(DEFAULT_VERB), "image")), ["--help"], SAMPLE_USAGE, _verb_help())
        raise UsageError(f"name the folder of a run first: {SAMPLE_USAGE}")
    folder = Path(arguments.pop(0))
    verb = arguments.pop(0) if arguments and not arguments[0].startswith("-") else DEFAULT_VERB
    draw, kind = _verb(verb), _kind(folder, _values(arguments, "--trust"))
    usage = f"sample.py {folder} {verb}"
    found: Any = parse(make("sample", _sample_fields(draw, kind)), arguments, usage, inspect.getdoc(draw))
    if found.raw and found.ema:
        raise UsageError("--raw and --ema exclude each other")
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    drawing = Drawing(**{field.name: values.pop(field.name) for field in dataclasses.fields(Drawing)})
    own = {name: values.pop(name) for name in parts.options(draw)}
    return SampleCommand(folder, verb, draw, own, values, drawing)


def _verb(name: str) -> parts.Part:
    return parts.find(verbs, name, kind="verb", function="draw")


def _kind(folder: Path, trust: Sequence[str]) -> str:
    from genjax_art.run.load import read_experiment

    return read_experiment(folder, trust)[1].kind


def _sample_fields(draw: parts.Part, kind: str) -> list[Field]:
    """Options of the verb, of the medium's writer, and of all verbs."""
    from genjax_art.media.medium import find_medium

    medium = find_medium(kind)
    aliases = {} if medium.reads == "file" else {"file": medium.reads}
    fields = [field for part in (draw, medium.write) for field in fields_of(part, parts.defaults(part), aliases)]
    return fields + [_field(Drawing, field) for field in dataclasses.fields(Drawing)]


def _field(owner: type, field: Any) -> Field:
    return field.name, Annotated[field.type, tyro.conf.arg(help=parts.field_help(owner)[field.name])], field.default


def _train_help() -> str:
    return (
        f"Train PRESET (default {DEFAULT_PRESET}) into a run folder. PRESET is a name or the path of your own preset "
        f"file. Presets: {', '.join(preset_names())}. `train.py PRESET --help` shows the values of that preset."
    )


def _verb_help() -> str:
    lines = [f"{name}: {(inspect.getdoc(_verb(name)) or '').splitlines()[0]}" for name in parts.names(verbs, "draw")]
    return (
        "Draw from a run folder alone: no data set and no preset is needed. "
        f"`sample.py RUN VERB --help` shows the options of a verb; below are those of {DEFAULT_VERB} for pictures. "
        "VERB is one of\n\n" + "\n\n".join(lines)
    )


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """The value after `flag` (or in `flag=value`), before the arguments are parsed."""
    return next(iter(_values(arguments, flag)), None)


def _values(arguments: Sequence[str], flag: str) -> tuple[str, ...]:
    """The values after the last `flag` (the first one perhaps in `flag=value`), before the arguments are parsed: those
    that tyro takes."""
    found: tuple[str, ...] = ()
    for i, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") == flag:
            after = list(takewhile(lambda word: not word.startswith("-"), arguments[i + 1 :]))
            found = (*([value] if equals else []), *after)
    return found


def _renamed(experiment: Experiment, arguments: Sequence[str]) -> Experiment:
    """With another component named on the command line, the old one's options make way for the new one's defaults."""

    def swap(component: Component, path: str) -> Component:
        name = _value(arguments, f"--{path}.name")
        return component if name in (None, component.name) else Component(str(name))

    optimizers = {
        player: dataclasses.replace(
            o,
            transform=swap(o.transform, f"optimizers.{player}.transform"),
            schedule=swap(o.schedule, f"optimizers.{player}.schedule"),
        )
        for player, o in experiment.optimizers.items()
    }
    return dataclasses.replace(
        experiment,
        model=swap(experiment.model, "model"),
        objective=swap(experiment.objective, "objective"),
        optimizers=optimizers,
        data=_other_data(experiment.data, arguments),
    )


def _other_data(data: Component, arguments: Sequence[str]) -> Component:
    """The data set named on the command line, with those options of the preset that it takes, too: size, split."""
    name = _value(arguments, "--data.name")
    if name in (None, data.name):
        return data
    known = parts.options(find_part("data set", str(name)))
    return Component(str(name), {option: value for option, value in data.options.items() if option in known})


def _saved(folder: Path, trust: Sequence[str]) -> Experiment:
    from genjax_art.run.load import read_experiment

    saved = read_experiment(folder, trust)[0]
    # the schedules are those of the first length, whatever is asked for now
    return saved if saved.run.schedule_steps else with_run(saved, schedule_steps=saved.run.steps)


def _check_resumed(folder: Path, saved: Experiment, command: TrainCommand, arguments: Sequence[str]) -> None:
    """Refuses what may not be changed on --resume, and data whose place only the run names."""
    from genjax_art.run.world import check_trusted, moved

    given = {name: _value(arguments, f"--data.{name.replace('_', '-')}") for name in data_places(saved)}
    check_trusted(folder, saved.data, given)
    before = placed(moved(untyped(typed(saved)), given))
    _check_unchanged(before, placed(command.experiment), command.changed)


def _warn_of_idle_steps(asked: Experiment) -> None:
    """Says so where the run is longer than the schedule of a learning rate that ends with it."""
    length = asked.run.schedule_steps or asked.run.steps
    ending = sorted(name for name, o in asked.optimizers.items() if o.schedule.name not in ("constant", "burn_in"))
    if ending and asked.run.steps > length:
        print(
            f"the learning rate of {' and '.join(ending)} follows a schedule over {length} steps, the run's first "
            f"length, and stays at its end from then on; --schedule-steps {asked.run.steps} stretches it",
            file=sys.stderr,
        )


def _check_unchanged(saved: Experiment, asked: Experiment, may: Sequence[str]) -> None:
    may = [name.replace("-", "_") for name in may]
    if strange := sorted(set(may) - set(CHANGEABLE)):
        raise unknown("field for --changed", strange[0], CHANGEABLE)
    lengths = {f.name: getattr(asked.run, f.name) for f in dataclasses.fields(RunOptions) if f.metadata["on_resume"]}
    same = dataclasses.replace(saved, run=dataclasses.replace(saved.run, **lengths))
    pairs = [(f.name, getattr(same, f.name), getattr(asked, f.name)) for f in dataclasses.fields(Experiment)]
    pairs += [(f.name, getattr(same.run, f.name), getattr(asked.run, f.name)) for f in dataclasses.fields(RunOptions)]
    changed = [name for name, before, after in pairs if name != "run" and before != after and name not in may]
    if changed:
        nameable = [name for name in changed if name in CHANGEABLE]
        remedy = "train anew" if nameable != changed else f"say so with --changed {' '.join(changed)}, or train anew"
        raise UsageError(
            f"--resume cannot change {', '.join(changed)}; only {', '.join(sorted(lengths))} may change: {remedy}"
        )


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `command` on the process's arguments and exits: a user's error is one line, a defect a traceback."""
    arguments = sys.argv[1:]
    open_streams()
    with one_line("--debug" in arguments), interrupts.raising():
        status = command(expand_homes(arguments))
        sys.stdout.flush()
    sys.exit(status or 0)


def expand_homes(arguments: Sequence[str]) -> list[str]:
    """The words with ~ and ~user at the beginning of a path, or of one after `--option=`, as the shell knows them.

    Raises:
      UsageError: there is no home folder, or a word is empty: as a path it would be the working directory.
    """
    for before, word in zip(("", *arguments), arguments, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            place = f" after {before}" if before and not word else ""
            raise UsageError(f"{quoted(word)}{place} is empty: name something (is a variable of the shell unset?)")
    return [_expand_home(word) for word in arguments]


def _expand_home(word: str) -> str:
    option, equals, path = word.partition("=") if word.startswith("--") and "=" in word else ("", "", word)
    expanded = os.path.expanduser(path) if path.startswith("~") else path
    if path == expanded and (path == "~" or path.startswith("~/")):
        raise UsageError(f"no home folder is known for {word}: write the path")
    return option + equals + expanded
