"""The logs of a run: metrics.jsonl, TensorBoard events and a progress display.

The loop hands in plain numbers and small pictures; nothing here touches a device or makes decisions.
"""

import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genjax_art.files import refuse_link, replacing
from genjax_art.train.events import Events

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "tensorboard"
LINE_SECONDS = 10.0  # without a terminal: at least this long between two lines
SPEED_SECONDS = 10.0  # the speed on display is an average over about this long

Row = dict[str, Any]  # "step", "images": int; "seconds", "images_per_second" and the metrics: float
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_row(row: Mapping[str, float | int]) -> str:
    """One line of strict JSON, which has no NaN and no infinity: they are written as strings."""
    names = {key: "NaN" if value != value else "Infinity" if value > 0 else "-Infinity" for key, value in row.items()}
    return json.dumps({key: value if math.isfinite(value) else names[key] for key, value in row.items()})


def decode_row(line: str | bytes) -> Row:
    """The inverse of `encode_row`.  Raises ValueError where the line is no JSON object of numbers with a step."""
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError("no object with a step")
    found = {key: _NON_FINITE.get(value, value) if isinstance(value, str) else value for key, value in row.items()}
    if not all(value is None or type(value) in (int, float) for value in found.values()):
        raise ValueError("not only numbers")
    return found


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl, one for each logged step; a half-written last line is left out.

    Raises ValueError where a line before the last is broken, FileNotFoundError where there is no file.
    """
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    rows: list[Row] = []
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            rows.append(decode_row(line.decode()))
        except ValueError:  # of JSON or of UTF-8
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: no metrics in JSON; delete the line to go on") from None
    return rows


def keep_rows(path: Path, start_step: int) -> list[Row]:
    """Cut the file back to the rows up to `start_step`, after which a run resumes; return those rows.

    The steps after the checkpoint are done again, and none may stand in the file twice.  A run from the start
    (`start_step` 0) keeps nothing.
    """
    rows = [row for row in read_metrics(path) if 0 < row["step"] <= start_step] if path.is_file() and start_step else []
    with replacing(path) as part:
        part.write_text("".join(encode_row(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def progress_text(step: int, total_steps: int, images_per_second: float, seconds_left: float, losses: str) -> str:
    """For example `1,200/5,000  842 images/s  01:20 left  discriminator 0.693  generator 0.841`."""
    left = str(timedelta(seconds=round(seconds_left))).removeprefix("0:") if math.isfinite(seconds_left) else "-:--"
    speed = f"{images_per_second:,.0f}" if math.isfinite(images_per_second) else "-"
    return f"{step:,}/{total_steps:,}  {speed} images/s  {left} left  {losses}".rstrip()


def losses_text(metrics: Mapping[str, float | int]) -> str:
    """The losses among `metrics` ("player/loss"), for example `discriminator 0.693  generator 0.841`."""
    losses = {key.removesuffix("/loss"): value for key, value in metrics.items() if key.endswith("/loss")}
    return "  ".join(f"{name} {value:.4g}" for name, value in losses.items())


class Display:
    """Shows the state of a run to a person, while entered; this one shows nothing."""

    def show(self, step: int, text: str) -> None:
        pass

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Lines(Display):
    """Plain lines on standard error: every `LINE_SECONDS` at most, and the last step."""

    def __init__(self, total_steps: int):
        self._total_steps, self._last = total_steps, monotonic()

    def show(self, step: int, text: str) -> None:
        if step >= self._total_steps or monotonic() - self._last >= LINE_SECONDS:
            self._last = monotonic()
            print(text, file=sys.stderr, flush=True)


class Bar(Display):
    """A moving bar on a terminal; what others print meanwhile appears above it."""

    def __init__(self, total_steps: int, start_step: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            BarColumn(bar_width=None),  # gets the room that the text leaves
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=4,
            expand=True,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=start_step, text="compiling")

    def show(self, step: int, text: str) -> None:
        self._bar.update(self._task, completed=step, text=text)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def make_display(total_steps: int, start_step: int, quiet: bool) -> Display:
    """A bar where standard error is a terminal, else lines; nothing where `quiet`."""
    if quiet:
        return Display()
    terminal = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "dumb")
    return Bar(total_steps, start_step) if terminal else Lines(total_steps)


class RunLog:
    """The open logs of a run; made by `run_log`."""

    def __init__(
        self,
        rows: list[Row],
        file: Any,
        events: Events,
        display: Display,
        total_steps: int,
        start_step: int,
        batch: int,
    ):
        self._file, self._events, self._display = file, events, display
        self._total_steps, self._batch = total_steps, batch
        self._losses = ""
        self._logged = rows[-1]["step"] if rows else 0
        # seconds go on from where the interrupted run was, to measure the training, not the calendar
        self._start = monotonic() - (rows[-1].get("seconds") or 0.0 if rows else 0.0)
        self._row_mark = (start_step, monotonic())
        self._compiled = False
        self._marks: deque[tuple[int, float]] = deque()

    def progress(self, step: int, metrics: Mapping[str, float | int] | None = None) -> None:
        """After step number `step` (from 1), as often as wanted: bring the display up to date.

        Of `metrics` the losses are shown; without, those of the last call.
        """
        now = monotonic()
        if not self._compiled:  # the first step waits for the compiler, so it is no measure of speed
            self._compiled, self._row_mark = True, (step, now)
        if metrics is not None:
            self._losses = losses_text(metrics)
        self._marks.append((step, now))
        while len(self._marks) > 2 and now - self._marks[1][1] > SPEED_SECONDS:
            self._marks.popleft()
        speed = _per_second(self._marks[0], (step, now))
        left = (self._total_steps - step) / speed if speed > 0 else math.inf
        text = progress_text(step, self._total_steps, speed * self._batch, left, self._losses)
        self._display.show(step, text)

    def scalars(self, step: int, metrics: Mapping[str, float | int]) -> None:
        """Write one row (once for a step, steps ascending) to metrics.jsonl and to TensorBoard.

        Adds `images` (seen so far), `seconds` (of training, over all parts of a resumed run) and
        `images_per_second` (since the last row; absent where no time has passed).  In the first row it counts
        the compiler's time, unless `progress` was called before.
        """
        if step <= self._logged:
            raise ValueError(f"step {step} is logged after step {self._logged}: give each step one row, in order")
        now = monotonic()
        row = {"step": step, "images": step * self._batch, "seconds": round(now - self._start, 3)}
        speed = _per_second(self._row_mark, (step, now)) * self._batch
        if math.isfinite(speed):
            row["images_per_second"] = round(speed, 1)
        if taken := sorted((row.keys() | {"images_per_second"}) & metrics.keys()):
            raise ValueError(f"metric {taken[0]!r} has the name of a column of {METRICS_FILE}: rename it")
        self._logged, self._row_mark = step, (step, now)
        row |= {key: float(value) for key, value in metrics.items()}
        self._file.write(encode_row(row) + "\n")
        self._file.flush()  # a killed process loses no row
        for key, value in row.items():
            if key != "step" and math.isfinite(value):  # TensorBoard has no place for others on its axis
                self._events.scalar(step, key, float(value))

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Show a picture (1, 3 or 4 channels) in TensorBoard."""
        self._events.image(step, name, image)


def _per_second(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Steps a second between two (step, time); NaN where nothing has passed."""
    steps, seconds = after[0] - before[0], after[1] - before[1]
    return steps / seconds if steps > 0 and seconds > 0 else math.nan


@contextmanager
def run_log(
    folder: Path, *, total_steps: int, batch_size: int, start_step: int = 0, quiet: bool = False
) -> Iterator[RunLog]:
    """Open the logs of the run in `folder` and close them whatever happens.

    `batch_size` is the global one.  A resumed run gives the `start_step` of its checkpoint: rows and events
    of later steps are dropped.  `quiet` shows no progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refuse_link(folder / EVENTS_FOLDER)
    path = folder / METRICS_FILE
    rows = keep_rows(path, start_step)
    with ExitStack() as stack:
        file = stack.enter_context(path.open("a", encoding="utf-8"))
        events = Events(folder / EVENTS_FOLDER, start_step)
        stack.callback(events.close)
        display = stack.enter_context(make_display(total_steps, start_step, quiet))
        yield RunLog(rows, file, events, display, total_steps, start_step, batch_size)
