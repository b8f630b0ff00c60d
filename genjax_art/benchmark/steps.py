"""How long a training step takes, beside the same model in plain PyTorch.

python -m genjax_art.benchmark steps [--against torch] [--only dcgan r3gan-small] [--rounds 7] [--json FILE]
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import jax
import numpy as np

from genjax_art.benchmark.peers.turns import turn
from genjax_art.build import build_plan, complete, load_preset
from genjax_art.config import Experiment
from genjax_art.errors import RunError, unknown
from genjax_art.options import parse
from genjax_art.run.training import initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step, compiler_options
from genjax_art.train.process import prepare_process
from genjax_art.train.step import make_step

GREY, COLOUR, CLIP = (28, 28, 1), (32, 32, 3), (16, 32, 32, 3)
ON_CPU = MappingProxyType({"device": "cpu", "precision": "float32"})  # where and how PyTorch computes


def rows() -> dict[str, tuple[Experiment, tuple[int, ...]]]:
    """Name to experiment and shape of an example."""

    def with_options(preset: str, **options: Any) -> Experiment:
        experiment = load_preset(preset)
        model = dataclasses.replace(experiment.model, options={**experiment.model.options, **options})
        return dataclasses.replace(experiment, model=model)

    batch_norm = {"generator_norm": "batch", "discriminator_norm": "batch"}

    table = {
        "dcgan": (with_options("dcgan", generator_norm="none"), GREY),
        "dcgan-small": (with_options("dcgan-small", conditional=False), GREY),
        "dcgan-32-batchnorm": (with_options("dcgan-small", width=64, conditional=False, **batch_norm), COLOUR),
        "r3gan-small": (load_preset("r3gan-small"), COLOUR),
        "conv-vae": (load_preset("conv-vae"), GREY),
        "mlp-vae": (load_preset("mlp-vae"), GREY),
        "iwae": (load_preset("iwae"), GREY),
        "mlp-gan": (load_preset("mlp-gan"), GREY),
        "mocogan-shapes": (with_options("mocogan-shapes", conditional=False), CLIP),
    }
    return {name: (complete(experiment), shape) for name, (experiment, shape) in table.items()}


@dataclass(frozen=True)
class Command:
    """Time the training steps of the reference rows."""

    against: Literal["none", "torch"] = "none"
    """Interleave with the same models in PyTorch."""
    only: tuple[str, ...] = ()
    """Names of rows (default: all)."""
    rounds: int = 7
    """Rounds of each side in turn; a row's figure is the median of the rounds' medians."""
    steps: int = 5
    """Least number of steps in a round that are counted."""
    torch_python: str = sys.executable
    """The interpreter that has PyTorch, where it is another one."""
    torch_modes: tuple[Literal["eager", "compiled"], ...] = ("eager", "compiled")
    """How PyTorch runs; compiling a GAN can take it many minutes."""
    onednn: bool = True
    """oneDNN convolutions on CPU, as in training."""
    json: Path | None = None
    """Also write the rows here."""


class Ours:
    """One row's step, compiled."""

    def __init__(self, experiment: Experiment, shape: tuple[int, ...], onednn: bool):
        plan = build_plan(experiment, ArraySpec(shape))
        step = make_step(plan.method.players, ema=plan.ema)
        self._compiled = compile_step(step, "jit", onednn=onednn)
        self._state = self._compiled.put_state(initial_state(plan))
        self._x = np.random.default_rng(0).uniform(-1, 1, (plan.run.batch_size, *shape)).astype(np.float32)
        began = time.perf_counter()
        costs: Any = jax.jit(step).lower(self._state, {"x": self._x}).cost_analysis()
        self.flops = float(costs["flops"])
        self._step()()
        self.first_seconds = time.perf_counter() - began

    def run(self, steps: int) -> list[float]:
        """Milliseconds a step in each burst of a turn; see `turns.py`."""
        return turn(self._step, steps)

    def _step(self) -> Callable[[], Any]:
        self._state, metrics = self._compiled.step(self._state, self._compiled.put_batch({"x": self._x}))
        return lambda: jax.device_get(metrics)


class Peer:
    """The same row in PyTorch, in a process of its own."""

    def __init__(
        self,
        python: str,
        experiment: Experiment,
        shape: tuple[int, ...],
        modes: tuple[str, ...],
        on: Mapping[str, str] = ON_CPU,
    ):
        optimizers = {
            name: {"learning_rate": o.learning_rate, **o.transform.options} for name, o in experiment.optimizers.items()
        }
        request = {
            "model": experiment.model.name,
            "model_options": experiment.model.options,
            "objective_options": experiment.objective.options,
            "optimizers": optimizers,
            "batch_size": experiment.run.batch_size,
            "shape": shape,
            "modes": modes,
            **on,
        }
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        command = [python, "-m", "genjax_art.benchmark.peers.torch_steps"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        answer = self._ask(request)
        self.modes, self.notes, self.version = answer["modes"], answer["notes"], answer["version"]

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RunError('PyTorch did not start: pip install -e ".[torch]", or name an interpreter by --torch-python')
        return json.loads(line)

    def run(self, mode: str, steps: int) -> list[float]:
        return self._ask({"mode": mode, "steps": steps})["ms"]

    def close(self) -> None:
        self._process.communicate()


def convolution_peak(onednn: bool) -> float:
    """GFLOP/s of a plain 3x3 convolution of 128 channels on 64 pictures of 28x28: what the machine can do."""
    x, w = np.ones((64, 28, 28, 128), np.float32), np.ones((3, 3, 128, 128), np.float32)

    def conv(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    run = jax.jit(conv, compiler_options=compiler_options(onednn))
    jax.block_until_ready(run(x, w))
    times = []
    for _ in range(9):
        start = time.perf_counter()
        jax.block_until_ready(run(x, w))
        times.append(time.perf_counter() - start)
    return 2 * 64 * 28 * 28 * 9 * 128 * 128 / min(times) / 1e9


def time_row(name: str, command: Command) -> dict[str, Any]:
    experiment, shape = rows()[name]
    ours = Ours(experiment, shape, command.onednn)
    peer = Peer(command.torch_python, experiment, shape, command.torch_modes) if command.against == "torch" else None
    medians: dict[str, list[float]] = {"ours": []} | {mode: [] for mode in (peer.modes if peer else [])}
    for _ in range(command.rounds):
        for side, values in medians.items():
            times = ours.run(command.steps) if side == "ours" or peer is None else peer.run(side, command.steps)
            values.append(float(np.median(times)))
    row: dict[str, Any] = {"name": name, "ours_ms": round(float(np.median(medians["ours"])), 2)}
    row["gflops"] = round(ours.flops / row["ours_ms"] / 1e6, 1)
    row["first_step_s"] = round(ours.first_seconds, 1)
    if peer:
        by_mode = {mode: round(float(np.median(medians[mode])), 2) for mode in peer.modes}
        row |= {"torch_ms": min(by_mode.values()), "torch_modes": by_mode, "torch_notes": peer.notes}
        row |= {"ratio": round(row["torch_ms"] / row["ours_ms"], 2), "torch": peer.version}
        peer.close()
    return row


def main(arguments: Sequence[str]) -> None:
    """Prints one line a row as it is measured; `ratio` above 1 means that we are faster."""
    command = parse(Command, arguments, "python -m genjax_art.benchmark steps")
    names = command.only or tuple(rows())
    for name in names:
        if name not in rows():
            raise unknown("row", name, rows())
    prepare_process()
    peak = convolution_peak(command.onednn)
    machine = f"{os.cpu_count()} x {_processor()}, jax {jax.__version__}, {jax.default_backend()}"
    print(f"{machine}; a plain convolution: {peak:.0f} GFLOP/s")
    table = []
    for name in names:
        row = time_row(name, command) | {"jax": jax.__version__, "machine": machine}
        table.append(row)
        line = (
            f"{name:20s} {row['ours_ms']:9.1f} ms  {row['gflops']:6.1f} GFLOP/s ({row['gflops'] / peak:4.0%} of peak)"
        )
        if "ratio" in row:
            line += f"  PyTorch {row['torch_ms']:9.1f} ms {row['torch_modes']}  ratio {row['ratio']:.2f}"
        print(line, flush=True)
        if command.json:  # after every row: a long measurement that is cut off keeps what it has
            command.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
