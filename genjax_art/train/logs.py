"""The logs of a run: metrics.jsonl (see `rows.py`), TensorBoard events and a progress display.

The loop hands in plain numbers and small pictures; nothing here touches a device or makes decisions.
"""

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

from genjax_art.files import refuse_link
from genjax_art.streams import forget
from genjax_art.train.events import Events
from genjax_art.train.rows import METRICS_FILE, Digest, Row, encode_row, keep_rows

EVENTS_FOLDER = "tensorboard"
LINE_SECONDS = 10.0  # without a terminal: at least this long between two lines
SPEED_SECONDS = 10.0  # the speed on display is an average over about this long


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
        self.rows = tuple(rows)
        """Those before the step from which it goes on."""
        self._digest = Digest(rows)
        self._logged = rows[-1]["step"] if rows else 0
        # seconds go on from where the interrupted run was, to measure the training, not the calendar
        self._start = monotonic() - (rows[-1].get("seconds", 0.0) if rows else 0.0)
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
        try:
            self._display.show(step, text)
        except OSError:  # who watched it has gone, or has no room: no reason to end the run
            forget((2,))
            self._display = Display()

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
        self._digest.add(row)
        self._file.flush()  # a killed process loses no row
        for key, value in row.items():
            if key != "step" and math.isfinite(value):  # TensorBoard has no place for others on its axis
                self._events.scalar(step, key, float(value))

    def digest(self) -> str:
        """Of all rows so far."""
        return self._digest.hex()

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
