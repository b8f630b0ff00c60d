"""The rows of metrics.jsonl, and what an interrupted run needs so that it writes the rows that a whole one does."""

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from genjax_art.files import replacing

METRICS_FILE = "metrics.jsonl"
DAMAGED = ".damaged"  # behind the name of a file of which not all could be read, kept aside
PENDING_FILE = ".metrics.pending.json"  # of each checkpoint: metrics of the steps since the last row before it
LONGEST_LINE = 2**20  # bytes

Row = dict[str, Any]  # "step", "images": int; "seconds", "images_per_second" and the metrics: float
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_row(row: Mapping[str, float | int]) -> str:
    """One line of strict JSON, which has no NaN and no infinity: they are written as strings."""
    return json.dumps(_strict(row))


def _strict(row: Mapping[str, float | int]) -> Row:
    names = {key: "NaN" if value != value else "Infinity" if value > 0 else "-Infinity" for key, value in row.items()}
    return {key: value if math.isfinite(value) else names[key] for key, value in row.items()}


def decode_row(line: str) -> Row:
    """The inverse of `encode_row`.  Raises ValueError where the line is no JSON object of numbers with a step."""
    try:
        row = _numbers(json.loads(line))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if type(row.get("step")) is not int or not 0 < row["step"] < 2**53:
        raise ValueError("no object with a step")
    return row


def _numbers(row: Any) -> Row:
    if not isinstance(row, dict):
        raise ValueError("no object")
    found = {key: _NON_FINITE.get(value, value) if isinstance(value, str) else value for key, value in row.items()}
    if odd := [key for key, value in found.items() if isinstance(value, bool) or not isinstance(value, int | float)]:
        raise ValueError(f"{odd[0][:40]} is no number")
    if any(isinstance(value, int) and abs(value) > 2**53 for value in found.values()):
        raise ValueError("a number out of all bounds")
    return found


def _read(path: Path) -> tuple[list[Row], list[int], int]:
    """The rows that can be read, the numbers of the other lines, and how many lines there are."""
    rows, odd, number = [], [], 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            number += 1
            try:
                rows.append(decode_row(line.decode("utf-8")))
            except ValueError:
                odd.append(number)
    return rows, odd, number


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl, one for each logged step; a half-written last line is left out.

    Raises ValueError where a line before the last is broken, FileNotFoundError where there is no file.
    """
    rows, odd, count = _read(path)
    if broken := [number for number in odd if number < count]:
        raise ValueError(f"{path}, line {broken[0]}: no metrics in JSON; delete the line to go on")
    return rows


def keep_rows(path: Path, start_step: int) -> list[Row]:
    """Cut the file back to the rows up to `start_step`, after which a run resumes; return those rows.

    The steps after the checkpoint are done again, and none may stand in the file twice.  A run from the start
    (`start_step` 0) keeps nothing. Where lines cannot be read, or steps do not ascend, the rest is kept, the file as it
    was goes to `metrics.jsonl.damaged`, and a line on standard error says so.
    """
    rows: list[Row] = []
    if start_step and path.exists():
        found, odd, count = _read(path)
        for row in found:
            if 0 < row["step"] <= start_step and (not rows or row["step"] > rows[-1]["step"]):
                rows.append(row)
        ascending = all(a["step"] < b["step"] for a, b in pairwise(found))
        if [number for number in odd if number < count] or not ascending:
            aside = path.with_name(path.name + DAMAGED)
            path.replace(aside)
            _say(f"{path}: {len(odd)} of {count} lines cannot be read, or rows are out of order: the others are kept, "
                 f"and the file as it was is {aside.name}")  # fmt: skip
    with replacing(path) as part:
        part.write_text("".join(encode_row(row) + "\n" for row in rows), encoding="utf-8")
    return rows


class Digest:
    """Of rows, as far as they are written."""

    def __init__(self, rows: Iterable[Row]):
        self._hash = hashlib.sha256()
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        self._hash.update(encode_row(row).encode())

    def hex(self) -> str:
        return self._hash.hexdigest()


def write_pending(folder: Path, step: int, digest: str, since: list[dict[str, float]], kept: Iterable[int]) -> None:
    """Before the checkpoint of `step` is written: the digest of the rows so far, and the steps since the last row.

    Entries of checkpoints that are no longer `kept` are dropped.
    """
    path = folder / PENDING_FILE
    wanted = {str(number) for number in kept}
    entries = {name: entry for name, entry in _entries(path).items() if name in wanted}
    entries[str(step)] = {"digest": digest, "since": [_strict(row) for row in since]}
    with replacing(path) as part:
        part.write_text(json.dumps(entries), encoding="utf-8")


def read_pending(folder: Path, step: int, rows: list[Row]) -> list[dict[str, float]]:
    """The metrics of the steps between the last of `rows` and the checkpoint of `step`, where a run resumes.

    What cannot be rebuilt, in these or in `rows` (lost or changed since they were written), is said on standard error.
    """
    last = rows[-1]["step"] if rows else 0
    entry: Any = _entries(folder / PENDING_FILE).get(str(step))
    try:
        since = [{name: float(value) for name, value in _numbers(row).items()} for row in entry["since"]]
        same = entry["digest"] == Digest(rows).hex()
    except (ValueError, KeyError, TypeError):
        if last < step:
            _say(f"{folder / METRICS_FILE}: the metrics of the steps after {last} up to {step} are lost: the next row "
                 "is of those after them")  # fmt: skip
        return []
    if not same:
        path = folder / METRICS_FILE
        aside = path.with_name(path.name + DAMAGED)
        if not aside.exists():
            aside.write_bytes(path.read_bytes())
        _say(f"{path}: rows up to step {step} were lost or changed since they were written, and cannot be rebuilt: "
             f"what there is stays, a copy is {aside.name}")  # fmt: skip
    return since


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
