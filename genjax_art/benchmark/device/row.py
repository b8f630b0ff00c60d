"""A row of the accelerator benchmark, and how steps are timed for it."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import jax

from genjax_art.config import Experiment

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Row:
    """What was measured, and whether a check holds (None: nothing was checked)."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    holds: bool | None = None
    note: str = ""


def in_precision(experiment: Experiment, precision: str) -> Experiment:
    """The experiment with all its networks in that precision."""
    return dataclasses.replace(experiment, precision=(precision,))


def seconds_of(call: Callable[[], Any], least: float = 0.5, rounds: int = 3) -> float:
    """Seconds of one call, after two that are not counted: the median of rounds of at least `least` seconds.

    Calls follow one another and only the last of a round is waited for, as in a training.
    """
    jax.block_until_ready(call())
    began = time.perf_counter()
    jax.block_until_ready(call())
    each = max(1, round(least / max(time.perf_counter() - began, 1e-6)))
    times = []
    for _ in range(rounds):
        began, result = time.perf_counter(), None
        for _ in range(each):
            result = call()
        jax.block_until_ready(result)
        times.append((time.perf_counter() - began) / each)
    return median(times)
