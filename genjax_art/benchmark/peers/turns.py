"""How one side of a comparison is timed when it is its turn."""

import time
from collections.abc import Callable

PAUSE = 0.3  # seconds before a turn: the other side's idle threads spin for a while and would take its cores
WARM = 0.5  # seconds that are not counted: after a pause threads and caches take some to be as in a training
BURST = 0.1  # seconds for which steps follow one another before their results are waited for, as in a training


def turn(step: Callable[[], Callable[[], object]], steps: int) -> list[float]:
    """Milliseconds a step in each of several bursts, of at least `steps` steps and half a second together.

    `step` starts a step and returns how to wait for its results. A training fetches them every now and then only, and
    one of small steps need not wait for Python in between; a side that computes at once loses nothing by that.
    """
    time.sleep(PAUSE)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < WARM:
        step()()
        done += 1
    each = max(1, round(BURST * done / (time.perf_counter() - began)))
    times: list[float] = []
    while len(times) * each < steps or each * sum(times) < 500.0:
        start = time.perf_counter()
        for _ in range(each):
            wait = step()
        wait()
        times.append(1e3 * (time.perf_counter() - start) / each)
    return times
