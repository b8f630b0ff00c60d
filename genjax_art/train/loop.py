"""The loop around a compiled step: feed it, read its metrics one step later, call hooks when they are due."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax_art.errors import RunError
from genjax_art.train.compile import Compiled
from genjax_art.train.state import TrainState


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
) -> TrainState:
    """Steps `state` until `state.step == steps`, or until `stop(step)`, which is asked after each step.

    `log(step, metrics)` gets the mean of each metric since its last call. The host never waits for the step that
    it has just sent, only for the one before: the device always has work, and memory for batches is bounded.

    Raises:
      RunError: a metric is not finite, or the data ends. No hook ever sees a state after such a step.
    """
    step, source = int(state.step), iter(batches)
    pending: list[Mapping[str, jax.Array]] = []  # not yet read
    rows: list[Mapping[str, float]] = []  # finite, since the last log
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
        logging = is_time(step, log_every, last)
        if due or logging:
            rows += _fetch(pending, first=step - len(pending) + 1)
            pending = []
        if logging:
            log(step, {name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
            rows = []
        for hook in due:
            hook.act(step, state)
        if last:
            break
    return state


def _fetch(pending: Sequence[Mapping[str, jax.Array]], first: int) -> list[Mapping[str, float]]:
    rows: list[Mapping[str, float]] = [
        {name: float(value) for name, value in row.items()} for row in jax.device_get(list(pending))
    ]
    for step, row in enumerate(rows, first):
        for name, value in row.items():
            if not np.isfinite(value):
                raise RunError(
                    f"{name} is {value} at step {step}; the last checkpoint before it is kept: "
                    "go on from it by --resume --changed optimizers with a lower learning rate or gradient clipping"
                )
    return rows
