"""Time and memory of one way to a measure, in a process of its own: the line of JSON that `benchmark metrics` reads."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art.benchmark.peers import feature_metrics as peers
from genjax_art.metrics.kernels import kid
from genjax_art.metrics.manifold import overlaps
from genjax_art.train.process import prepare_process

SIDES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "ours, precision to coverage": lambda real, fake: overlaps(real, fake, (5,)),
    "prdc": peers.compute_prdc,
    "torch-fidelity, precision and recall": peers.fidelity_prc,
    "ours, KID of all pairs": lambda real, fake: kid(real, fake).value,
    "torch-fidelity, KID of subsets": peers.fidelity_kid,
}


def memory(name: str) -> float:
    """MiB of this process by the kernel's count: VmHWM is the peak, VmRSS what is held now.

    Not getrusage's peak: a process inherits that from the one that started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def main(side: str, n: int, width: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    real, fake = ((scale * rng.normal(size=(n, width))).astype(np.float32) for scale in (1.0, 1.01))
    small = slice(0, 64)
    if side.startswith("ours"):
        prepare_process()
        jax.devices()
    else:
        SIDES[side](np.tile(real[small], (16, 1)), np.tile(fake[small], (16, 1)))  # imports are not counted
    held, times = memory("VmRSS"), []
    for _ in range(2):
        began = time.perf_counter()
        SIDES[side](real, fake)
        times.append(time.perf_counter() - began)
    peak = memory("VmHWM")
    return {"first_s": times[0], "again_s": times[1], "peak_mib": peak, "more_mib": peak - held}


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # some peers print
        figures = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(figures))
