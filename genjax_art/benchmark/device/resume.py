"""A run that is interrupted and goes on is the run that was not, on this device: bit for bit?

Twice: as XLA chooses its kernels, some of which add in an order that changes, and with its deterministic ones, where
equality is asked for.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from genjax_art.benchmark.chaos import TRAIN
from genjax_art.benchmark.device.row import Row
from genjax_art.errors import RunError
from genjax_art.run.load import load_run

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def rows(tiny: bool) -> Iterator[Row]:
    deterministic_too = jax.default_backend() == "gpu"
    for flags in ("", DETERMINISTIC) if deterministic_too else ("",):
        differing, leaves = compare(flags, tiny)
        # without the flag only CPU promises it
        holds = differing == 0 if flags or not deterministic_too else None
        name = "resume, deterministic kernels" if flags else "resume"
        yield Row(name, {"differing_leaves": differing, "leaves": leaves}, holds)


def compare(flags: str, tiny: bool) -> tuple[int, int]:
    """How many leaves of the last checkpoint differ, of how many."""
    steps, half = (4, 2) if tiny else (200, 100)
    with tempfile.TemporaryDirectory() as home:
        whole, parts = Path(home) / "whole", Path(home) / "parts"
        train(whole, steps, half, flags, tiny)
        train(parts, half, half, flags, tiny)
        train(parts, steps, half, flags, tiny, "--resume")
        a, b = (jax.tree.leaves(load_run(folder).state) for folder in (whole, parts))
    return sum(not np.array_equal(x, y) for x, y in zip(a, b, strict=True)), len(a)


def train(folder: Path, steps: int, save_every: int, flags: str, tiny: bool, *more: str) -> None:
    words = ["dcgan-small", "--run-dir", folder, "--steps", steps, "--save-every", save_every, "--sample-every", 0]
    words += ["--log-every", save_every, "--schedule-steps", 1000, "--precision", "bfloat16", *more]
    words += ["--best-by", "sliced_wasserstein"]  # the score that costs nothing
    words += ["--model.width", 4, "--batch-size", 8, "--steps-per-call", 2] if tiny else []
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # this process has memory of the device, too
    done = subprocess.run(
        [sys.executable, str(TRAIN), *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RunError(f"the training ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
