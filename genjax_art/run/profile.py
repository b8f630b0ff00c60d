"""What a training step costs, and what it makes of the device: `train.py PRESET --profile N`.

Nothing is trained: steps are made from a fresh state, with the data, the calls and the loop of a training, and only
the folder `profile` is written: the trace (`plugins/profile/DATE`, for XProf, its trace.json.gz for ui.perfetto.dev)
and the figures, `profile.json`. All is of one device.
"""

import json
import re
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genjax_art.build import Plan
from genjax_art.data.contract import Source
from genjax_art.files import refuse_link, replacing
from genjax_art.models.precision import PRECISIONS
from genjax_art.run.feed import data_of, steps_per_call, stream_of
from genjax_art.run.flops import flops_in
from genjax_art.run.layout import PROFILE
from genjax_art.run.peaks import copy_peak, product_peak
from genjax_art.run.trace import idle_share, longest, traced
from genjax_art.run.training import compile_plan, initial_state
from genjax_art.train.compile import compile_ahead, jaxpr_of
from genjax_art.train.loop import train
from genjax_art.train.state import TrainState

FIGURES = "profile.json"
WARM = 3  # steps before those that are counted, at least
TOP = 12  # operations that are listed
LONGEST_NAME, WIDTH = 80, 110  # characters
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "f64": "float64"}


@dataclass(frozen=True)
class Profile:
    """Figures of a step; None is what this platform does not tell."""

    preset: str
    device: str
    jax: str
    batch_size: int
    steps: int
    """So many were timed, and as many more traced."""
    steps_per_call: int
    compile_seconds: float
    """Of the program that is called; of one that was compiled before and kept, for reading it."""
    milliseconds: float
    """A step, without tracing, with its data and logs."""
    flops: float | None
    """Of a step's products and convolutions; see `flops.py`."""
    matrix_peak: dict[str, float]
    """FLOP/s of a large matrix product, for each precision in which the step has products or convolutions."""
    bytes: float | None
    """Read and written by the compiled step's operations, caches left aside."""
    copy_peak: float
    """Bytes/s that a large copy reads and writes."""
    memory: dict[str, int] | None
    """Bytes of the compiled program: arguments, outputs, those that share memory with arguments, temporaries."""
    device_idle: float | None
    """The share of the traced time in which the device had nothing to do."""
    events: str
    """What was taken for the device's events."""
    operations: dict[str, float]
    """Those that took most, with their shares of the time of all."""
    trace: str | None
    """Its file, below the folder."""

    @property
    def flops_per_second(self) -> float | None:
        return None if self.flops is None else self.flops / self.milliseconds * 1e3

    @property
    def bytes_per_second(self) -> float | None:
        return None if self.bytes is None else self.bytes / self.milliseconds * 1e3

    @property
    def share_of_matrix_peak(self) -> float | None:
        """Of the peak of the fastest precision."""
        peak = max(self.matrix_peak.values(), default=None)
        return None if peak is None or self.flops_per_second is None else self.flops_per_second / peak

    @property
    def share_of_bandwidth(self) -> float | None:
        return None if self.bytes_per_second is None else self.bytes_per_second / self.copy_peak

    def to_json(self) -> dict[str, Any]:
        derived = ("flops_per_second", "share_of_matrix_peak", "bytes_per_second", "share_of_bandwidth")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def profile(plan: Plan, source: Source, folder: Path, steps: int) -> Profile:
    """Times and traces `steps` steps (made whole calls) of `plan`, into `folder`/profile.

    Raises:
      RunError: `folder`/profile is a link, or the data cannot be read.
    """
    place = folder / PROFILE
    refuse_link(place)
    per_call, data = steps_per_call(plan), data_of(plan, source)
    compiled = compile_plan(plan, "jit", data)
    state = compiled.put_state(initial_state(plan))
    with closing(stream_of(plan, source, 0, data)) as stream:
        first = next(stream)
    one = used = compile_ahead(compiled.step, state, compiled.put_batch(first))
    if per_call > 1:
        stacked = {name: np.stack([x] * per_call) for name, x in first.items()}
        used = compile_ahead(compiled.several, state, compiled.put_batches(stacked))
    ahead = replace(compiled, step=one.call, several=used.call)
    steps, warm = (-(-n // per_call) * per_call for n in (steps, WARM))
    with closing(stream_of(plan, source, 0, data)) as stream:

        def go_on(state: TrainState, steps: int) -> TrainState:
            end, cycle = int(state.step) + steps, plan.run.log_every
            return train(ahead, state, stream, steps=end, log_every=cycle, steps_per_call=per_call)

        state = go_on(state, warm)
        began = time.perf_counter()
        state = go_on(state, steps)
        seconds = time.perf_counter() - began
        events, trace = traced(lambda: go_on(state, steps), place)
    found = Profile(
        preset=plan.name,
        device=jax.local_devices()[0].device_kind,
        jax=jax.__version__,
        batch_size=plan.run.batch_size,
        steps=steps,
        steps_per_call=per_call,
        compile_seconds=used.seconds,
        milliseconds=seconds / steps * 1e3,
        flops=flops_in(jaxpr_of(compiled.step, state, compiled.put_batch(first))) or None,
        matrix_peak={name: product_peak(name) for name in precisions_of(plan, one.lowered.as_text())},
        bytes=_cost(one.program, "bytes accessed"),
        copy_peak=copy_peak(),
        memory=memory_of(used.program),
        device_idle=idle_share(events.busy),
        events=events.taken,
        operations=longest(events, TOP),
        trace=str(trace.relative_to(place)) if trace else None,
    )
    with replacing(place / FIGURES) as part:
        part.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
    return found


def precisions_of(plan: Plan, stablehlo: str) -> list[str]:
    """Those of the step's products: by the dtypes in its text, and by what the plan makes of float32."""
    dtypes = [dtype for dtype in dtypes_of_products(stablehlo) if dtype in PRECISIONS]
    tf32 = any(word.rpartition("=")[2] == "tf32" for word in plan.config["precision"])
    return ["tf32" if dtype == "float32" and tf32 else dtype for dtype in dtypes]


def dtypes_of_products(stablehlo: str) -> list[str]:
    """Of the arrays that matrix products and convolutions in a program's text read: "float32", "bfloat16", ..."""
    lines = re.findall(r"stablehlo\.(?:dot_general|convolution)\b.*?: \(tensor<(?:\d+x)*(\w+)>", stablehlo)
    return sorted({DTYPES[name] for name in lines if name in DTYPES})


def _cost(stage: Any, name: str) -> float | None:
    try:
        costs = stage.cost_analysis()
    except (NotImplementedError, RuntimeError):  # not on every platform
        return None
    value = (costs or {}).get(name)
    return float(value) if value and value > 0 else None


def memory_of(program: jax.stages.Compiled) -> dict[str, int] | None:
    """Bytes of its arguments, its results, what both share, and its temporary arrays, where the platform says."""
    try:
        found: Any = program.memory_analysis()
    except (NotImplementedError, RuntimeError):
        return None
    if found is None:
        return None
    kinds = {"arguments": "argument", "outputs": "output", "shared": "alias", "temporaries": "temp"}
    return {name: int(getattr(found, f"{kind}_size_in_bytes")) for name, kind in kinds.items()}


def show(found: Profile) -> None:
    """Prints the figures."""

    def known(value: float | None, words: str) -> str:
        return "not known" if value is None else words.format(value)

    memory = [f"{name} {size / 2**20:,.1f} MiB" for name, size in (found.memory or {}).items()]
    rows = {
        "device": f"{found.device}, jax {found.jax}",
        "step": f"{found.milliseconds:.3f} ms ({found.steps} timed, {found.steps_per_call} a call)",
        "compile time": f"{found.compile_seconds:.1f} s",
        "FLOPs of the step": known(found.flops and found.flops / 1e9, "{:,.3f} G"),
        "achieved": known(found.flops_per_second and found.flops_per_second / 1e9, "{:,.1f} GFLOP/s"),
        "matrix product": ", ".join(f"{d} {peak / 1e9:,.0f} GFLOP/s" for d, peak in found.matrix_peak.items()),
        "share of that": known(found.share_of_matrix_peak, "{:.1%}"),
        "bytes of the step": known(found.bytes and found.bytes / 1e6, "{:,.1f} MB"),
        "achieved bandwidth": known(found.bytes_per_second and found.bytes_per_second / 1e9, "{:,.1f} GB/s"),
        "copy": f"{found.copy_peak / 1e9:,.1f} GB/s",
        "share of the copy": known(found.share_of_bandwidth, "{:.1%}"),
        "memory": ", ".join(memory) or "not known",
        "device waits": f"{known(found.device_idle, '{:.1%} of the traced time')} ({found.events})",
    }
    table = Table("figure", "", box=SIMPLE, show_header=False)
    for name, words in rows.items():
        table.add_row(name, escape(words))
    longest = Table("operation", "share", box=SIMPLE)
    for name, share in found.operations.items():
        longest.add_row(escape(name[:LONGEST_NAME]), f"{share:.1%}")
    console = Console()
    console.width = max(console.width, WIDTH)  # in a file or a narrow window lines are not broken
    console.print(table)
    if found.operations:
        console.print(longest)
