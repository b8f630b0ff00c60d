"""How one side of a comparison is timed when it is its turn."""

import time
from collections.abc import Callable

PAUSE = 0.3  # seconds before a turn: the other side's idle threads spin for a while and would take its cores
WARM = 0.5  # seconds that are not counted: after a pause threads and caches take some to be as in a training


def turn(step: Callable[[], object], steps: int) -> list[float]:
    """Milliseconds of each of at least `steps` steps, for at least half a second, in the middle of more of them.

    `step` returns when its results are there.
    """
    time.sleep(PAUSE)
    began = time.perf_counter()
    while time.perf_counter() - began < WARM:
        step()
    times: list[float] = []
    while len(times) < steps or sum(times) < 500.0:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times
