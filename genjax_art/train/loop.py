"""The loop around a compiled step: feed it, read its metrics one call later, call hooks when they are due."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
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
    steps_per_call: int = 1,
) -> TrainState:
    """Steps `state` until `state.step == steps`, or until `stop(step)`, which is asked after each call.

    A call makes `steps_per_call` steps where no log and no hook is due before its end, else one.

    `log(step, metrics)` gets the mean of each metric since its last call, and the sum of the steps that were skipped.
    An interruption between two logs logs nothing: `since_log` holds the metrics of each step since the last log, at
    first those that an interrupted run left, and is kept up to date before each hook, so that they can be kept.

    The host never waits for the call that it has just sent, only for the one before: the device always has work, and
    memory for batches is bounded. So a log is written when the next call was sent. Only hooks, which get the state,
    and the end of the run wait for the last call; what is logged at the same step comes before them.

    Raises:
      NotFinite: a metric is not finite. RunError: the data ends. No hook ever sees a state after such a step.
    """
    step, source = int(state.step), iter(batches)
    sent = _Sent([] if since_log is None else since_log, log)
    cycles = [log_every, *(hook.every for hook in hooks)]
    while step < steps:
        due_in = min([steps - step, *(every - step % every for every in cycles if every)])
        fed = list(islice(source, steps_per_call if steps_per_call <= due_in else 1))
        if not fed or 1 < len(fed) < steps_per_call:
            sent.read(step)
            raise RunError(f"the data ended after step {step + len(fed)} of {steps}")
        state, metrics = _call(compiled, state, fed)
        sent.wait(step)
        step += len(fed)
        sent.add(metrics, is_time(step, log_every, step == steps))
        last = stop(step) or step == steps
        due = [hook for hook in hooks if is_time(step, hook.every, last)]
        if due or (last and sent.owed):
            sent.read(step)
        for hook in due:
            hook.act(step, state)
        if last:
            break
    return state


@dataclass
class _Sent:
    """Metrics of calls that were sent: those not yet read, and of each step since the last log."""

    rows: list[Row]
    log: Callable[[int, Mapping[str, float]], None]
    pending: list[Mapping[str, jax.Array]] = field(default_factory=list)
    owed: bool = False  # a log of the last step that was sent

    def add(self, metrics: Mapping[str, jax.Array], owed: bool) -> None:
        self.pending.append(metrics)
        self.owed = owed

    def wait(self, step: int) -> None:
        """For the last call that was added, up to `step`; writes the log that it owes."""
        if self.owed:
            self.read(step)
        elif self.pending:
            jax.block_until_ready(self.pending[-1])

    def read(self, step: int) -> None:
        """All that is pending, up to `step`; writes the log that is owed."""
        self.rows.extend(_fetch(self.pending, last=step))
        self.pending.clear()
        if self.owed:
            self.log(step, _summary(self.rows))
            self.rows.clear()
        self.owed = False


def _call(
    compiled: Compiled, state: TrainState, fed: Sequence[Mapping[str, Any]]
) -> tuple[TrainState, Mapping[str, jax.Array]]:
    """As many steps as there are batches; of several the metrics have an axis of that length."""
    if len(fed) == 1:
        return compiled.step(state, compiled.put_batch(fed[0]))
    stacked = {name: np.stack([batch[name] for batch in fed]) for name in fed[0]}
    return compiled.several(state, compiled.put_batches(stacked))


def _fetch(pending: Sequence[Mapping[str, jax.Array]], last: int) -> list[Row]:
    """The metrics of each step up to `last`, on the host."""
    found: list[Mapping[str, np.ndarray]] = jax.device_get(list(pending))
    columns = [{name: np.atleast_1d(value).tolist() for name, value in call.items()} for call in found]
    rows: list[Row] = [
        dict(zip(call, values, strict=True)) for call in columns for values in zip(*call.values(), strict=True)
    ]
    first = last - len(rows) + 1
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
