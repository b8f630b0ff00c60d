"""Step times of the usual rows by precision, beside the same models in PyTorch on the same device."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from genjax_art.benchmark import steps as usual
from genjax_art.benchmark.device.row import PRECISIONS, Row, in_precision
from genjax_art.build import build_plan, complete, load_preset
from genjax_art.config import Experiment, with_run
from genjax_art.data.contract import synthetic_source
from genjax_art.run import feed
from genjax_art.run.flops import flops_in
from genjax_art.run.peaks import product_peak
from genjax_art.run.profile import memory_of
from genjax_art.run.timing import seconds_in_rounds
from genjax_art.run.trace import idle_share, longest, traced
from genjax_art.run.training import compile_plan, initial_state
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_ahead, jaxpr_of

ORDER = ("dcgan", "dcgan-small", "conv-vae", "mlp-gan", "mlp-vae", "r3gan-small")
CALL, ROUNDS = 25, 3  # steps of a call, rounds of calls that are timed
TOP, NAME = 12, 90  # operations that are listed, characters of a name
GOAL = 1.3  # times as fast as the best mode of PyTorch
MODES = ("eager", "graphs")
AS_TRAINED = ("dcgan",)  # presets whose rows are of a form with other norms
COMPILED = ("dcgan", "bfloat16")  # compiling takes minutes: this row only, after all others


def rows(tiny: bool) -> Iterator[Row]:
    names, precisions = (("mlp-vae",), ("float32",)) if tiny else (ORDER, PRECISIONS)
    for name in names:
        experiment, shape = usual.rows()[name]
        for precision in reversed(precisions):
            yield one(name, in_precision(experiment, precision), shape, precision, tiny)
        if name in AS_TRAINED:  # PyTorch has it in another form
            preset = in_precision(complete(load_preset(name)), precisions[-1])
            yield Row(f"{name} as it is trained, {precisions[-1]}", ours(preset, shape, precisions[-1], CALL))
    if not tiny:
        yield compiled()


def one(name: str, experiment: Experiment, shape: tuple[int, ...], precision: str, tiny: bool) -> Row:
    """Our step, several in a call on data that lie on the device, and PyTorch's."""
    values = ours(experiment, shape, precision, 2 if tiny else CALL, tiny)
    peer, refused = tried(experiment, shape, precision, ("eager",) if tiny else MODES)
    values |= peer
    if refused:
        return Row(f"{name}, {precision}", values, note=refused)
    if not peer["torch_ms"]:
        return Row(f"{name}, {precision}", values, note="PyTorch ran in no mode")
    values["ratio"] = round(min(peer["torch_ms"].values()) / values["ms"], 2)
    return Row(f"{name}, {precision}", values, None if tiny else values["ratio"] >= GOAL)


def compiled() -> Row:
    """PyTorch compiled, beside which no row of ours is timed again."""
    name, precision = COMPILED
    experiment, shape = usual.rows()[name]
    peer, refused = tried(experiment, shape, precision, ("compiled",))
    return Row(f"{name}, {precision}, compiled", peer, note=refused)


def tried(
    experiment: Experiment, shape: tuple[int, ...], precision: str, modes: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """`theirs`, or why there is none: ours counts without it."""
    try:
        return theirs(experiment, shape, precision, modes), ""
    except Exception as error:  # PyTorch is not here, or refuses
        return {}, f"no PyTorch: {str(error)[:200]}"


def ours(
    experiment: Experiment,
    shape: tuple[int, ...],
    precision: str,
    call: int,
    tiny: bool = False,
    classes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Milliseconds a step, compile time, FLOPs and their share of the peak, memory, what the device does.

    The share of time that it waits is of a traced call, for which XLA takes no command buffers on a GPU.
    """
    experiment = with_run(experiment, steps_per_call=call)
    if tiny:
        experiment = with_run(experiment, batch_size=8)
    plan = build_plan(experiment, ArraySpec(shape, classes=classes))
    source = synthetic_source(plan.spec, 64 if tiny else 4096, seed=0, dtype=np.uint8)
    data = feed.data_of(plan, source)
    compiled = compile_plan(plan, "jit", data)
    stream = feed.stream_of(plan, source, 0, data)
    batches = [next(stream) for _ in range(call)]
    stacked = {key: np.stack([batch[key] for batch in batches]) for key in batches[0]}
    fed = compiled.put_batches(stacked) if call > 1 else compiled.put_batch(batches[0])
    holder = [compiled.put_state(initial_state(plan))]
    ahead = compile_ahead(compiled.several if call > 1 else compiled.step, holder[0], fed)

    def many() -> Any:
        holder[0], metrics = ahead.call(holder[0], fed)
        return metrics

    jax.block_until_ready(many())
    ms = 1e3 * median(seconds_in_rounds(many, 0.05 if tiny else 0.5, ROUNDS)) / call
    with tempfile.TemporaryDirectory() as home:
        events, _ = traced(many, Path(home))
    flops = flops_in(jaxpr_of(compiled.step, holder[0], compiled.put_batch(batches[0])))
    memory = memory_of(ahead.program) or {}
    return {
        "ms": round(ms, 4),
        "images_per_s": round(1e3 * plan.images_per_step / ms),
        "compile_s": round(ahead.seconds, 1),
        "flops": flops,
        "tflops": round(flops / ms / 1e9, 3),
        "share_of_peak": round(1e3 * flops / ms / product_peak(precision, 256 if tiny else None), 4),
        "memory_mib": {kind: round(size / 2**20) for kind, size in memory.items()},
        "device_idle": idle_share(events.busy),
        "operations": {name[:NAME]: round(share, 4) for name, share in longest(events, TOP).items()},
    }


def theirs(experiment: Experiment, shape: tuple[int, ...], precision: str, modes: tuple[str, ...]) -> dict[str, Any]:
    """Milliseconds a step of PyTorch in each mode that it runs in, and why it does not run in the others."""
    on = {"device": "cuda" if jax.default_backend() == "gpu" else "cpu", "precision": precision}
    peer = usual.Peer(sys.executable, experiment, shape, modes, on)
    try:
        found = {mode: round(median(peer.run(mode, 3)), 4) for mode in peer.modes}
    finally:
        peer.close()
    return {"torch": peer.version, "torch_ms": found, "torch_notes": peer.notes}
