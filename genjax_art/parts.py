"""Parts by name: a file in one of our rooms, or a function in the user's own module, and what options it takes.

A part is a function: `build` of a model, an objective or a data set, `draw` of a verb. Its options are its keyword-only
arguments; one whose default is a dataclass stands for the fields of that. What an option means is read from the
docstring of the function ("Args:") or below the field.

A name with a colon, `my_module:build`, is a part from outside. It is imported when it is asked for, so whoever reads
such a name from a file of unknown origin has to ask `outside` first.
"""

import ast
import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any

from genjax_art.errors import UsageError, unknown

Part = Callable[..., Any]
LONGEST = 256  # entries of an option that is a tuple


@dataclass(frozen=True)
class AtMost:
    """In the annotation of a number: its largest value."""

    most: int


Count = Annotated[int, AtMost(256)]
"""A number of things that are built one after the other, as layers: a large one would take for ever."""


@dataclass(frozen=True)
class Option:
    """A keyword-only argument of a part: its annotated type, its default and what it means, in one line."""

    type: Any
    default: Any
    help: str


def names(room: ModuleType, function: str = "build") -> list[str]:
    """The names of the files in `room` that define `function`, or a constant of that name.

    An underscore at the end, as in `continue_.py`, is not part of the name.
    """
    found = []
    for module in pkgutil.iter_modules(room.__path__):
        text = (Path(room.__path__[0]) / f"{module.name}.py").read_text(encoding="utf-8") if not module.ispkg else ""
        if f"\ndef {function}(" in text or f"\n{function} = " in text:
            found.append(module.name.rstrip("_"))
    return found


def is_outside(name: str) -> bool:
    """Whether `name` is that of a part from outside, `my_module:function` or `my_package.module:function`."""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(word.isidentifier() for word in module.split("."))


def outside(names: Iterable[str]) -> list[str]:
    """The modules, without doubles, of those among `names` that are parts from outside."""
    return list(dict.fromkeys(name.partition(":")[0] for name in names if is_outside(name)))


def find(room: ModuleType, name: str, *, kind: str, function: str = "build") -> Any:
    """The part `name`: `function` (or a constant) of the file of that name in `room`, or what `my_module:name` names.

    Raises:
      UsageError: there is none; `kind` says of what.
    """
    if is_outside(name):
        return _import_outside(name, kind)
    known = names(room, function)
    if name not in known:
        raise unknown(kind, name, known)
    files = {module.name.rstrip("_"): module.name for module in pkgutil.iter_modules(room.__path__)}
    return getattr(importlib.import_module(f"{room.__name__}.{files[name]}"), function)


def _import_outside(name: str, kind: str) -> Any:
    module_name, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # entry scripts may lie elsewhere than the user's modules
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # a module that it imports itself
        raise UsageError(
            f"no module {module_name} for the {kind} {name}: start in its folder, or put that on PYTHONPATH"
        ) from None
    part = getattr(module, attribute, None)
    if part is None:
        raise UsageError(f"module {module_name} has no {attribute} for the {kind} {name}")
    return part


def keywords(part: Part) -> dict[str, Any]:
    """The keyword-only arguments of a part and their defaults."""
    return {p.name: p.default for p in inspect.signature(part).parameters.values() if p.kind is p.KEYWORD_ONLY}


def options(part: Part) -> dict[str, Option]:
    """The options of a part by name."""
    hints, documented = typing.get_type_hints(part, include_extras=True), argument_help(inspect.getdoc(part) or "")
    found: dict[str, Option] = {}
    for name, default in keywords(part).items():
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            group = type(default)
            group_hints, group_help = typing.get_type_hints(group, include_extras=True), field_help(group)
            for field in dataclasses.fields(default):
                value = getattr(default, field.name)
                found[field.name] = Option(group_hints[field.name], value, group_help.get(field.name, ""))
        else:
            kind = type(default) if isinstance(default, bool | int | float | str) else Any  # where none is written
            found[name] = Option(hints.get(name, kind), default, documented.get(name, ""))
    return found


def defaults(part: Part) -> dict[str, Any]:
    """The defaults of those options that have one."""
    return {name: o.default for name, o in options(part).items() if o.default is not inspect.Parameter.empty}


def complete(part: Part, kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a part: those `given`, the others by default; of an option that is a mapping, entry by entry.

    Raises:
      UsageError: an option or an entry that the part does not have, a missing one, or a value that is not among an
        option's choices or not of its type.
    """
    known = options(part)
    values = {option: about.default for option, about in known.items()}
    for option, value in given.items():
        if option not in known:
            raise unknown(f"option of {kind} {name}", option, known)
        default, choices = known[option].default, _choices(known[option].type)
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping):
                raise UsageError(f"{option} of {kind} {name} needs names and values, got {value!r}")
            for entry in value:
                if default and entry not in default:
                    raise unknown(f"{option} of {kind} {name}", entry, default)
            value = {**default, **value}
        if choices and not any(value == choice and type(value) is type(choice) for choice in choices):
            raise unknown(f"{option} of {kind} {name}", value, map(str, choices))
        if wrong := _mistake(known[option].type, value):
            raise UsageError(f"{option} of {kind} {name} {wrong}")
        values[option] = value
    if missing := [option for option, value in values.items() if value is inspect.Parameter.empty]:
        raise UsageError(f"{kind} {name} needs the option {missing[0]}")
    return values


def arguments(part: Part, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options, completed, as the part's keyword arguments."""
    given = dict(values)
    for name, default in keywords(part).items():
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            fields = {field.name: given.pop(field.name) for field in dataclasses.fields(default)}
            given[name] = dataclasses.replace(default, **fields)
    return given


def _choices(kind: Any) -> tuple[Any, ...]:
    """The values that an option may have, where its type lists them."""
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)
    choices = [_choices(option) for option in typing.get_args(kind)] if _is_union(kind) else []
    nothing = type(None) in typing.get_args(kind)
    return (*(c for one in choices for c in one), None) if nothing and any(choices) else ()


def _mistake(kind: Any, value: Any) -> str:
    """What is wrong with `value` as one of the annotated type `kind`; nothing where all is well, or unknown."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        too_much = [m.most for m in inner[1:] if isinstance(m, AtMost) and isinstance(value, int) and value > m.most]
        return f"must be at most {too_much[0]}, got {value}" if too_much else _mistake(inner[0], value)
    if _is_union(kind):
        mistakes = [_mistake(one, value) for one in inner]
        return "" if "" in mistakes else mistakes[0]
    shown = f"{str(value)[:60]!r}" if isinstance(value, str) else str(value)[:60]
    if origin is tuple and isinstance(value, tuple | list):
        return _mistake_in_tuple(inner, value, shown)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return f"needs names and values, got {shown}"
        return next((f"has {key} that {wrong}" for key, v in value.items() if (wrong := _mistake(inner[1], v))), "")
    if origin is tuple:
        return f"must be several values, got {shown}"
    return _mistake_of_plain(kind, value, shown)


def _mistake_in_tuple(inner: tuple[Any, ...], values: Sequence[Any], shown: str) -> str:
    if len(values) > LONGEST:
        return f"has {len(values)} values, more than {LONGEST}"
    if len(inner) == 2 and inner[1] is Ellipsis:
        inner = (inner[0],) * len(values)
    if len(inner) != len(values):
        return f"must be {len(inner)} values, got {shown}"
    return next((wrong for kind, value in zip(inner, values, strict=True) if (wrong := _mistake(kind, value))), "")


def _mistake_of_plain(kind: Any, value: Any, shown: str) -> str:
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return "" if number else f"must be a finite number, got {shown}"
    words: dict[Any, str] = {
        int: "a whole number",
        bool: "true or false",
        str: "a word",
        Path: "a path",
        type(None): "nothing",
    }
    if kind not in words or (kind is Path and isinstance(value, str)):
        return ""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return ""
    return f"must be {words[kind]}, got {shown}"


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, UnionType)


def argument_help(doc: str) -> dict[str, str]:
    """What the section "Args:" of a docstring says of each argument, in one line each."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if section is None:
        return {}
    found: dict[str, str] = {}
    text = textwrap.dedent(section[1])
    for entry in re.finditer(r"^(\w[\w, ]*):[ \n](.*(?:\n(?:[ \t]+.*|))*)", text, re.MULTILINE):
        for name in entry[1].split(","):
            found[name.strip()] = " ".join(entry[2].split())
    return found


def field_help(kind: type) -> dict[str, str]:
    """What stands as a string below each field of a dataclass, in one line each."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text = after.value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = " ".join(text.value.split())
    return found
