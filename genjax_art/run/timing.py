"""How long a call of the device takes, when calls follow one another as in a training."""

import time
from collections.abc import Callable
from typing import Any

import jax


def seconds_in_rounds(call: Callable[[], Any], least: float, rounds: int) -> list[float]:
    """Seconds of one call in each of some rounds of at least `least` seconds; two calls before them do not count.

    Only the last call of a round is waited for.
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
    return times
