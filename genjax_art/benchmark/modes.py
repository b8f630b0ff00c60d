"""Mode coverage on data with known modes, beside the published figures.

python -m genjax_art.benchmark modes [--only ring8 grid25] [--seeds 10] [--json FILE]
python -m genjax_art.benchmark modes --only stacked-mnist
python -m genjax_art.benchmark modes --only stacked-mnist stacked-mnist-gan stacked-mnist-r1      (R3GAN's ablation)

The protocols are described in `mixture_modes.py`, `mixture_1200.py` and `stacked_mnist.py`.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from genjax_art.benchmark import mixture_1200, mixture_modes, stacked_mnist
from genjax_art.errors import UsageError, unknown
from genjax_art.options import parse
from genjax_art.train.process import prepare_process

KINDS = {name: kind for kind in (mixture_modes, mixture_1200, stacked_mnist) for name in kind.ROWS}


@dataclass(frozen=True)
class Command:
    """Train on data with known modes and count those of the samples."""

    only: tuple[str, ...] = mixture_modes.ROWS
    """Names of rows: ring8, grid25, mixture1200, stacked-mnist, stacked-mnist-gan, stacked-mnist-r1."""
    seeds: int | None = None
    """Runs of each, with seeds 0, 1, ...; None: ten in the plane, five in 1,200 dimensions, one on pictures."""
    steps: int | None = None
    """Length of a run; None: that of the preset."""
    json: Path | None = None
    """Also write the rows here."""


def main(arguments: Sequence[str]) -> None:
    """Prints each row as it is measured."""
    command = parse(Command, arguments, "python -m genjax_art.benchmark modes")
    for name in command.only:
        if name not in KINDS:
            raise unknown("row", name, KINDS)
    if command.seeds is not None and command.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {command.seeds}")
    prepare_process()
    machine = f"{os.cpu_count()} x {platform.machine()}, jax {jax.__version__}, {jax.default_backend()}"
    print(f"{machine}; samples a run: {mixture_modes.SAMPLES} of points, {stacked_mnist.SAMPLES} of pictures")
    table = []
    for name in command.only:
        began, kind = time.monotonic(), KINDS[name]
        row = kind.measure(name, command.seeds or kind.SEEDS, command.steps)
        row |= {"seconds": time.monotonic() - began, "machine": machine}
        table.append(row)
        print("\n".join(kind.lines(row)), flush=True)
        if command.json:
            command.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
