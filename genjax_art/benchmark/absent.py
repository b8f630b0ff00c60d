"""Steps compiled for a TPU that is not here: how long that takes, whether they fit, what is in the programs.

python -m genjax_art.benchmark absent [--only dcgan] [--topology v5e:2x2] [--chips 4] [--precision bfloat16]

It needs the TPU's compiler, `pip install -e ".[tpu]"`, which runs on any Linux machine. Nothing is computed: memory is
what the program of a single step asks for, whose batch comes from the host (data that lie on the device are not in
it). Cycles are the compiler's own estimate, of the operations that it gives one for, without what is inside of loops.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from genjax_art.benchmark import steps as usual
from genjax_art.benchmark.device.row import in_precision
from genjax_art.build import Plan, build_plan
from genjax_art.config import Experiment, with_run
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.options import parse
from genjax_art.run.profile import memory_of
from genjax_art.run.training import step_of
from genjax_art.shards import DEVICE_AXIS
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step, lower
from genjax_art.train.process import prepare_process

CROSSING = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
# so that the compiler neither asks the network which TPU this is nor refuses to be used by two processes
QUIET = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


@dataclass(frozen=True)
class Command:
    """Compile the training steps of the reference rows for a TPU that is not here."""

    only: tuple[str, ...] = ()
    """Names of rows (default: all)."""
    topology: str = "v5e:2x2"
    """Kind and arrangement of the chips, as libtpu names them."""
    chips: int = 1
    """How many of them share the batch."""
    precision: Literal["float32", "tf32", "bfloat16"] = "bfloat16"
    """Of all networks."""
    batch_size: int | None = None
    """Examples in a step (default: the row's own)."""
    text: Path | None = None
    """A folder for the compiled programs, as text."""
    json: Path | None = None
    """Write the rows here, each as soon as it is there."""


def main(arguments: Sequence[str]) -> None:
    """Prints a line a row.

    Raises:
      RunError: the compiler is not here, or a step does not compile.
      UsageError: an unknown row or arrangement, more chips than that has, or a batch that they cannot share equally.
    """
    command = parse(Command, arguments, "python -m genjax_art.benchmark absent")
    rows = usual.rows()
    for name in command.only:
        if name not in rows:
            raise unknown("row", name, rows)
    for folder in filter(None, (command.text, command.json and command.json.parent)):
        folder.mkdir(parents=True, exist_ok=True)
    prepare_process()
    devices = chips_of(command.topology)
    if not 1 <= command.chips <= len(devices):
        raise UsageError(f"{command.topology} has {len(devices)} chips: --chips is from 1 to {len(devices)}")
    plans = {name: plan_of(*rows[name], command) for name in command.only or rows}
    for name, plan in plans.items():
        if plan.images_per_step % command.chips:
            raise UsageError(f"a batch of {plan.images_per_step} ({name}) is not a multiple of --chips {command.chips}")
    table: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for name, plan in plans.items():
        try:
            found, text = compiled_for(plan, devices[: command.chips])
        except jax.errors.JaxRuntimeError as error:
            why = failed[name] = " ".join(str(error).split())[:300]
            found, text = {"refused": why}, ""
        table.append({"row": name, "device": f"{command.chips} of {command.topology}", **found})
        print(f"{name}: {json.dumps(found)}", flush=True)
        if command.text and text:
            (command.text / f"{name}.txt").write_text(text, encoding="utf-8")
        if command.json:
            command.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if failed:
        fits = "; try a smaller --batch-size" if any("RESOURCE_EXHAUSTED" in why for why in failed.values()) else ""
        raise RunError(f"not compiled for {command.topology}: {', '.join(failed)}{fits}")


def plan_of(experiment: Experiment, shape: tuple[int, ...], command: Command) -> Plan:
    """The plan of a row, as asked for."""
    size = {} if command.batch_size is None else {"batch_size": command.batch_size}
    experiment = with_run(in_precision(experiment, command.precision), **size)
    return build_plan(experiment, ArraySpec(shape, kind="clip" if len(shape) == 4 else "image"))


def chips_of(topology: str) -> list[jax.Device]:
    """The chips of an arrangement such as v5e:2x2, which programs can be compiled for and not run on.

    Raises:
      RunError: the TPU's compiler is not here. UsageError: it knows no such arrangement.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return list(topologies.get_topology_desc(topology, "tpu").devices)
    except RuntimeError as error:
        if "not installed" in str(error):
            raise RunError('the compiler for TPUs is not here: pip install -e ".[tpu]"') from error
        raise UsageError(
            f"--topology {topology}: {str(error).splitlines()[0]}; one that is known is v5e:2x2"
        ) from error


def compiled_for(plan: Plan, chips: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Figures of the plan's step, compiled for these chips, and the program's text.

    Raises:
      JaxRuntimeError: it does not fit, or the compiler refuses.
    """
    whole: Sharding = SingleDeviceSharding(chips[0])
    rows, mesh = whole, None
    if len(chips) > 1:
        mesh = Mesh(np.array(chips), (DEVICE_AXIS,))
        whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (DEVICE_AXIS,)))
    # oneDNN is for the processor that is here
    compiled = compile_step(step_of(plan), "mesh" if mesh else "jit", mesh=mesh, onednn=False)
    batch = {"x": jax.ShapeDtypeStruct((plan.images_per_step, *plan.spec.shape), np.float32)}
    lowered = lower(compiled.step, _at(plan.state_shapes(), whole), _at(batch, rows))
    began = monotonic()
    program = lowered.compile()
    seconds = monotonic() - began
    text = program.as_text()
    assert text is not None, "a compiler that has no text"
    memory = memory_of(program) or {}
    return {
        "compile_s": round(seconds, 1),
        "memory_mib": {kind: round(size / 2**20) for kind, size in memory.items()},
        **figures(text),
    }, text


def _at(tree: Any, where: Sharding) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)


def figures(text: str) -> dict[str, Any]:
    """Of a program compiled for a TPU: its convolutions and products and what crosses between chips, wherever they are;
    loops in its main part, that part's estimated cycles without them, and the share of those that only move arrays."""
    main = text[text.index("\nENTRY ") :].partition("\n}")[0]
    cycles: Counter[str] = Counter()
    channels = re.findall(rf" ({'|'.join(CROSSING)})(?:-start)?\(.*?channel_id=(\d+)", text)  # fusions repeat them
    for line in main.splitlines():
        kind = re.match(r"\s*(?:ROOT )?%\S+ = .*? ([a-z][\w-]*)\(", line)
        estimate = re.search(r'"estimated_cycles":"(\d+)"', line)
        if kind and estimate:
            cycles["moved" if kind[1] in ("copy", "transpose", "reshape") else "other"] += int(estimate[1])
    return {
        "convolutions": len(re.findall(r" convolution\(", text)),
        "crossing": dict(Counter(kind for kind, _ in set(channels))),
        "loops": len(re.findall(r" while\(", main)),
        "estimated_cycles": cycles.total(),
        "share_moved": round(cycles["moved"] / max(cycles.total(), 1), 3),
    }
