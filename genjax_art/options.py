"""Options of the command line, typed by the parts that take them: each has its part's type, default and words.

An experiment becomes a dataclass whose fields are the options of its own components, which tyro parses, and what tyro
returns becomes an experiment again.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from genjax_art import parts
from genjax_art.build import find_part
from genjax_art.config import Component, Experiment, Optimizer, RunOptions
from genjax_art.errors import UsageError

T = TypeVar("T")
NAME_HELP = "Which one: the name of a file in our rooms, or my_module:build for a part of yours."
Field = tuple[str, Any, Any]  # name, type, default
# of an option that is left out where nothing is meant: None is a word like others, and the name of a class perhaps
WORD = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="STR",
    instance_from_str=lambda given: given[0],
    is_instance=lambda value: value is None or isinstance(value, str),
    str_from_instance=lambda value: [str(value)],
)


def words(text: str, aliases: list[str] | None = None) -> Any:
    """The help of an option, and its further names."""
    return tyro.conf.arg(help=text[:1].upper() + text[1:] or None, aliases=aliases)


def parse(kind: type[T], arguments: Sequence[str], prog: str, description: str | None = None) -> T:
    """The options on a command line as an instance of the dataclass `kind`; what is wrong with them in one line.

    Raises:
      UsageError: an unknown option, a value of another type, a number that is none. SystemExit: after --help.
    """
    said = io.StringIO()
    with _wide(not {"-h", "--help"} & set(arguments)):
        try:
            with contextlib.redirect_stderr(said):
                found: T = tyro.cli(kind, args=list(arguments), prog=prog, description=description)
        except SystemExit as end:
            if not end.code:
                raise
            raise UsageError(f"{_condensed(said.getvalue())}; for all options see {prog} --help") from None
    _check_numbers(found, "-")
    return found


@contextlib.contextmanager
def _wide(wanted: bool) -> Iterator[None]:
    """Lets tyro write its messages without breaking lines, where `wanted`."""
    before = os.environ.get("COLUMNS")
    if wanted:
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ["COLUMNS"]
        elif before is not None:
            os.environ["COLUMNS"] = before


def _condensed(box: str) -> str:
    """What one of tyro's boxes says is wrong, and the options that it takes for meant, in one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│| \n") for line in text.splitlines()]
    lines = [line for line in lines if line.strip("╭╮╰╯─-+ ")]
    lines = lines[1:] or lines  # the first is the title
    first = lines[0].rstrip(".") if lines else "wrong options"
    if first.endswith(":"):  # a list follows
        first += " " + ", ".join(line for line in lines[1:] if not line.startswith("For full helptext"))
    meant = [line.split()[0].rstrip(",") for line in lines[1:] if line.startswith("--")]
    similar = f"; similar: {', '.join(dict.fromkeys(meant))}" if meant and "nrecognized" in first else ""
    return " ".join((first[0].lower() + first[1:] + similar).split())


def _check_numbers(value: Any, name: str) -> None:
    """Refuses floats that are not finite; tyro reads "nan" as a number."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_numbers(getattr(value, field.name), f"{name}{'-' if name == '-' else '.'}{field.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(item, f"{name}.{key}")
    elif isinstance(value, tuple):
        for item in value:
            _check_numbers(item, name)
    elif isinstance(value, float) and not math.isfinite(value):
        word = name.replace("_", "-").replace("--experiment.", "--").replace("--run.", "--")
        raise UsageError(f"{word} must be a finite number, got {value}")


def make(name: str, fields: list[Field]) -> type:
    """A dataclass of these fields; a default of dataclasses.MISSING makes an option obligatory.

    Raises:
      UsageError: two options of one name: a part of the user's own has one that all have.
    """
    names = [field for field, _, _ in fields]
    if twice := sorted({field for field in names if names.count(field) > 1}):
        raise UsageError(f"the option {twice[0]} is there twice, of a part and of all: rename that of your part")
    made: list[Any] = []
    for field, kind, default in fields:
        given = default is not dataclasses.MISSING
        made.append((field, kind, *([dataclasses.field(default_factory=partial(_same, default))] if given else [])))
    return dataclasses.make_dataclass(name, made, kw_only=True, frozen=True)


def _same(value: Any) -> Any:
    return value


def fields_of(part: parts.Part, values: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> list[Field]:
    """The options of a part with these defaults; `aliases` are further names of options."""
    found: list[Field] = []
    for name, about in parts.options(part).items():
        kind, default = about.type, values.get(name, dataclasses.MISSING)
        if isinstance(about.default, Mapping) and about.default:  # a weight for each name
            (_, entry) = typing.get_args(kind)
            group = make(name, [(key, entry, value) for key, value in default.items()])
            found.append((name, Annotated[group, words(about.help)], group()))
            continue
        alias = [f"--{aliases[name]}"] if aliases and name in aliases else None
        typed_as = Annotated[kind, WORD] if kind == str | None and default is None else kind
        found.append((name, Annotated[typed_as, words(about.help, alias)], default))
    return found


def plain(value: Any) -> Any:
    """What tyro returned as plain data that JSON can hold: groups become dictionaries, paths words."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return str(value) if isinstance(value, Path) else value


def _component(kind: str, component: Component) -> Any:
    """An instance of a dataclass of the component's name and options."""
    part = find_part(kind, component.name)
    values = parts.complete(part, kind, component.name, component.options)
    name: Field = ("name", Annotated[str, words(NAME_HELP)], component.name)
    return make(kind, [name, *fields_of(part, values)])()


def _group(name: str, values: Mapping[str, Any]) -> Any:
    return make(name, [(field, type(value), value) for field, value in values.items()])()


def _optimizer(player: str, optimizer: Optimizer) -> Any:
    help_of = parts.field_help(Optimizer)
    transform, schedule = _component("optimizer", optimizer.transform), _component("schedule", optimizer.schedule)
    fields: list[Field] = [
        ("learning_rate", Annotated[float, words(help_of["learning_rate"])], optimizer.learning_rate),
        ("transform", Annotated[type(transform), words(help_of["transform"])], transform),
        ("schedule", Annotated[type(schedule), words(help_of["schedule"])], schedule),
        ("clip", Annotated[float | None, words(help_of["clip"])], optimizer.clip),
    ]
    return make(player, fields)()


def typed(experiment: Experiment) -> Any:
    """The experiment as an instance of a dataclass of its options, completed.

    Raises:
      UsageError: an unknown component or option, or a value that is not among an option's choices.
    """
    help_of = parts.field_help(Experiment)
    values: dict[str, Any] = {
        "model": _component("model", experiment.model),
        "objective": _component("objective", experiment.objective),
        "data": _component("data set", experiment.data),
        "optimizers": _group("optimizers", {name: _optimizer(name, o) for name, o in experiment.optimizers.items()}),
    }
    fields: list[Field] = [("name", Annotated[str, words(help_of["name"])], experiment.name)]
    fields += [(name, type(value), value) for name, value in values.items()]
    fields += [
        ("run", Annotated[RunOptions, tyro.conf.arg(name="")], experiment.run),
        ("ema_half_life", Annotated[dict[str, float], words(help_of["ema_half_life"])], experiment.ema_half_life),
        ("ema_burn_in", Annotated[float, words(help_of["ema_burn_in"])], experiment.ema_burn_in),
        ("precision", Annotated[tuple[str, ...], words(help_of["precision"])], experiment.precision),
    ]
    return make("experiment", fields)()


def untyped(options: Any) -> Experiment:
    """The experiment of what `typed` made and tyro changed."""

    def component(value: Any) -> Component:
        found = plain(value)
        return Component(found.pop("name"), found)

    def optimizer(value: Any) -> Optimizer:
        return Optimizer(value.learning_rate, component(value.transform), component(value.schedule), value.clip)

    return Experiment(
        name=options.name,
        model=component(options.model),
        objective=component(options.objective),
        optimizers={
            field.name: optimizer(getattr(options.optimizers, field.name))
            for field in dataclasses.fields(options.optimizers)
        },
        data=component(options.data),
        run=options.run,
        ema_half_life=dict(options.ema_half_life),
        ema_burn_in=options.ema_burn_in,
        precision=options.precision,
    )
