"""The loop around a compiled step: feed it, read its metrics one step later, call hooks when they are due."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax_art.errors import RunError
from genjax_art.train.compile import Compiled
from genjax_art.train.finite import FINITE, SKIPPED, NotFinite, not_finite
from genjax_art.train.state import TrainState

Row = dict[str, float]
MOST_SKIPPED = 20  # of so many steps between two logs one must not have been skipped: else nothing is learned


class Hook(NamedTuple):
    """`act(step, state)` after every `every` steps, and after the last one of the run or of an interruption."""

    every: int
    act: Callable[[int, TrainState], None]


def is_time(step: int, every: int, last: bool = False) -> bool:
    """Whether what happens every `every` steps happens after `step` steps; never where `every` is 0."""
    return every > 0 and step > 0 and (last or step % every == 0)


def train(
    compiled: Compiled,
    state: TrainState,
    batches: Iterable[Mapping[str, Any]],
    *,
    steps: int,
    log: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None,
    log_every: int = 50,
    hooks: Sequence[Hook] = (),
    stop: Callable[[int], bool] = lambda step: False,
    since_log: list[Row] | None = None,
) -> TrainState:
    """Steps `state` until `state.step == steps`, or until `stop(step)`, which is asked after each step.

    `log(step, metrics)` gets the mean of each metric since its last call, and the sum of the steps that were skipped.
    An interruption between two logs logs nothing: `since_log` holds the metrics of each step since the last log, at
    first those that an interrupted run left, and is kept up to date before each hook, so that they can be kept.

    The host never waits for the step that it has just sent, only for the one before: the device always has work, and
    memory for batches is bounded.

    Raises:
      NotFinite: a metric is not finite. RunError: the data ends. No hook ever sees a state after such a step.
    """
    step, source = int(state.step), iter(batches)
    pending: list[Mapping[str, jax.Array]] = []  # not yet read
    rows = [] if since_log is None else since_log
    while step < steps:
        batch = next(source, None)
        if batch is None:
            raise RunError(f"the data ended after step {step} of {steps}")
        state, metrics = compiled.step(state, compiled.put_batch(batch))
        step += 1
        if pending:
            jax.block_until_ready(pending[-1])
        pending.append(metrics)
        last = stop(step) or step == steps
        due = [hook for hook in hooks if is_time(step, hook.every, last)]
        logging = is_time(step, log_every, step == steps)
        if due or logging:
            rows += _fetch(pending, first=step - len(pending) + 1)
            pending = []
        if logging:
            log(step, _summary(rows))
            rows.clear()
        for hook in due:
            hook.act(step, state)
        if last:
            break
    return state


def _fetch(pending: Sequence[Mapping[str, jax.Array]], first: int) -> list[Row]:
    rows: list[Row] = [{name: float(value) for name, value in row.items()} for row in jax.device_get(list(pending))]
    for step, row in enumerate(rows, first):
        finite = row.pop(FINITE, 1.0)
        if row.get(SKIPPED):
            continue
        for name, value in row.items():
            if not np.isfinite(value):
                raise NotFinite(not_finite(f"{name} is {value}", step))
        if finite < 1:
            raise NotFinite(not_finite("what is carried on from step to step (batch statistics) is not finite", step))
    return rows


def _summary(rows: Sequence[Row]) -> Row:
    """The mean of each metric over the steps that have it, and the sum of the steps that were skipped.

    Raises:
      RunError: there are many steps, and all were skipped.
    """
    if len(rows) >= MOST_SKIPPED and all(row.get(SKIPPED) and not any(map(np.isfinite, _others(row))) for row in rows):
        raise RunError(f"all of the last {len(rows)} steps were skipped, for numbers that are not finite: train anew")
    summary = {}
    for name in rows[-1]:
        values = [row[name] for row in rows if name in row]
        good = [value for value in values if np.isfinite(value)]
        summary[name] = float(np.sum(values) if name == SKIPPED else np.mean(good) if good else np.nan)
    return summary


def _others(row: Row) -> list[float]:
    return [value for name, value in row.items() if name != SKIPPED]
