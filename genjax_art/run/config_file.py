"""config.json of a run folder, which anybody may have made: read within bounds, or refused with the field named."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genjax_art.parts import is_outside
from genjax_art.spec import ArraySpec

LARGEST_FILE = 4 * 2**20  # bytes
DEEPEST = 32  # levels of nesting
LONGEST_STRING = 4096  # characters; a path may have that many
LONGEST_LIST = 256  # entries of an option
LARGEST_NUMBER = 2**31  # steps, batches and seeds are numbers of 32 bits
MOST_CLASSES = 100_000
LARGEST_EXAMPLE = 2**28  # numbers in one
FASTEST = 100_000  # frames per second


def read(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`.

    Raises:
      ValueError: it is too large, no JSON object, or something in it is out of bounds; the field is named.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE // 2**20} MB")
    try:
        found = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    for where, depth, value in _walk(found):
        _check(where, depth, value)
    return found


def array_spec(value: Any) -> ArraySpec:
    """What `dataclasses.asdict` made of an array spec, or an older version of this package did.

    Raises:
      ValueError: a field is missing or makes no sense; it is named.
    """
    if not isinstance(value, Mapping):
        raise ValueError("spec is missing, or no object")
    if missing := [name for name in ("shape", "low", "high", "kind", "classes") if name not in value]:
        raise ValueError(f"spec.{missing[0]} is missing")
    shape, classes, kind = value["shape"], value["classes"], value["kind"]
    if not isinstance(shape, list) or not 1 <= len(shape) <= 6 or any(type(n) is not int or n < 1 for n in shape):
        raise ValueError("spec.shape is not one to six whole numbers above 0")
    if math.prod(shape) > LARGEST_EXAMPLE:
        raise ValueError(f"spec.shape has {math.prod(shape):,} numbers, more than {LARGEST_EXAMPLE:,}")
    bounds = value["low"], value["high"]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in bounds) or not bounds[0] < bounds[1]:
        raise ValueError("spec.low and spec.high are not two numbers, the first below the second")
    if not isinstance(kind, str) or len(kind) > 200 or not (kind.isidentifier() or is_outside(kind)):
        raise ValueError("spec.kind is no word")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("spec.classes is no list of names")
    # runs of version 1 do not say it: of what there was, only points went beyond their range
    bounded = value.get("bounded", kind != "points")
    if not isinstance(bounded, bool):
        raise ValueError("spec.bounded is neither true nor false")
    rate = value.get("rate")  # runs from before there were clips do not say it
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= FASTEST):
        raise ValueError(f"spec.rate is neither null nor frames per second, over 0 and at most {FASTEST:,}")
    rate = None if rate is None else float(rate)
    return ArraySpec(tuple(shape), float(bounds[0]), float(bounds[1]), kind, tuple(classes), bounded, rate)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:100]!r} stands twice")
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _walk(value: Any) -> Iterator[tuple[str, int, Any]]:
    """Every value with its place and depth; without recursion, however deep."""
    todo: list[tuple[str, int, Any]] = [("", 0, value)]
    while todo:
        where, depth, value = todo.pop()
        yield where, depth, value
        if depth <= DEEPEST and isinstance(value, dict):
            todo += [(f"{where}.{name[:100]}".lstrip("."), depth + 1, item) for name, item in value.items()]
        elif depth <= DEEPEST and isinstance(value, list):
            todo += [(where, depth + 1, item) for item in value]


def _check(where: str, depth: int, value: Any) -> None:
    if depth > DEEPEST:
        raise ValueError(f"{where[:100]} is nested more than {DEEPEST} levels deep")
    if isinstance(value, str) and len(value) > LONGEST_STRING:
        raise ValueError(f"{where} has a word of more than {LONGEST_STRING} characters")
    names = where in ("spec.classes", "content.classes") or where.startswith("history")
    longest = MOST_CLASSES if names else LONGEST_LIST
    if isinstance(value, list | dict) and len(value) > longest:
        raise ValueError(f"{where} has {len(value):,} entries, more than {longest:,}")
    if isinstance(value, int | float) and not abs(value) < math.inf:
        raise ValueError(f"{where} is not finite")
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ValueError(f"{where} is out of bounds: no whole number may be above {LARGEST_NUMBER:,}")
