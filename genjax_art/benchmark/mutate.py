"""Damaged files for fuzzing: random changes of the bytes, the text or the structure of valid ones."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 10**9, 2**31, 2**63, -(10**9), 10**400, 0.5, -0.5, 1e300, 1e-300, float("nan"),
    float("inf"), "", "a", "none", "../..", "my_module:build", "os:system", "\x00", "\ud800", "x" * 5000, [], [1], [[]],
    [0, 0], [-3, 4], [1] * 300, {}, {"a": 1}, {"name": "mlp", "options": {}}, {"name": "gan"},
)  # fmt: skip
WORDS = (
    b"NaN",
    b"Infinity",
    b"1e999",
    b"null",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b"\xff\xfe",
    b"\x00",
    b"\n",
    b"9" * 50,
)


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to eight changes: bits, bytes, pieces cut, doubled, moved or emptied."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 16, 64, 1000))
        piece = changed[place : place + length]
        match rng.randrange(8):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place : place + 1] = bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = piece * rng.choice((1, 2, 50))
            case 4:
                changed[place:place] = rng.randbytes(length)
            case 5:
                changed[place : place + length] = bytes(len(piece))
            case 6:
                changed[place:place] = rng.choice(WORDS)
            case _:
                if rng.random() < 0.3:
                    del changed[place:]
    return bytes(changed)


def mutated_json(value: Any, rng: random.Random) -> bytes:
    """JSON text of `value` with one to four places changed; now and then too deep, doubled or not JSON at all."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = _mutated(value, rng)
    text = json.dumps(value, default=str).encode("utf-8", "replace")
    match rng.randrange(20):
        case 0:
            depth = rng.choice((50, 900, 100_000))
            return text.replace(b"null", b"[" * depth + b"]" * depth, 1).replace(b"8", b"[" * depth + b"]" * depth, 1)
        case 1:
            return mutated_bytes(text, rng)
        case 2:
            return text[:-1] + b"," + text[1:]
        case 3:
            return text + b" " * rng.choice((10, 5_000_000))
        case _:
            return text


def _mutated(value: Any, rng: random.Random) -> Any:
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    whole = copy.deepcopy(value)
    inside = whole
    for step in holder:
        inside = inside[step]
    match rng.randrange(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[rng.choice(("new", "name", "options", "step", "version", "x" * 300))] = rng.choice(VALUES)
        case 2 if type(inside[key]) in (int, float) and abs(inside[key]) < 2**64:
            inside[key] = rng.choice((-1, 0, 2, 1000, 1e6, 0.1)) * inside[key]
        case 3:
            inside[key] = inside[rng.choice(list(inside))] if isinstance(inside, dict) else [inside[key]] * 3
        case _:
            inside[key] = rng.choice(VALUES)
    return whole


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The path of each holder and the key of each value in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield path, key
        yield from _places(item, (*path, key))


def mutated_lines(data: bytes, rng: random.Random, change: Callable[[bytes, random.Random], bytes]) -> bytes:
    """Lines lost, doubled, swapped, or one of them changed."""
    lines = data.splitlines(keepends=True)
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = mutated_json(json.loads(lines[at]), rng) + b"\n"
        case _:
            lines[at] = change(lines[at], rng)
    return b"".join(lines)
