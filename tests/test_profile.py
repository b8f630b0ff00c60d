"""The figures of a step, and traces read: of made-up files of a GPU, a TPU and a CPU, and of a real one."""

import gzip
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from small import vae_experiment

from genjax_art import cli
from genjax_art.build import build_plan
from genjax_art.config import with_run
from genjax_art.data.contract import synthetic_source
from genjax_art.errors import UsageError
from genjax_art.run import profile as profiling
from genjax_art.run.layout import check_folder
from genjax_art.run.trace import Event, device_events, idle_share, summed
from genjax_art.spec import ArraySpec

GPU, HOST = "/device:GPU:0 NVIDIA H100", "/host:CPU"


def trace_of(path, *lanes):
    """Writes a trace of lanes (process, thread, [(name, start, length, args)])."""
    events = []
    for tid, (process, thread, found) in enumerate(lanes):
        pid = 1 + sorted({lane[0] for lane in lanes}).index(process)
        events += [
            {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": process}},
            {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": thread}},
        ]
        for name, start, length, args in found:
            events.append({"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": start, "dur": length, "args": args})
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    return path


def test_of_a_gpu_the_streams_are_summed_and_nothing_twice(tmp_path):
    path = trace_of(
        tmp_path / "trace.json.gz",
        (GPU, "Stream #13(Compute)", [("conv", 0, 4, {"hlo_op": "a"}), ("conv", 10, 2, {}), ("relu", 4, 1, {})]),
        (GPU, "Stream #20(MemcpyH2D)", [("MemcpyH2D", 3, 4, {})]),
        (GPU, "XLA Modules", [("jit_one", 0, 12, {})]),
        (GPU, "XLA Ops", [("fusion", 0, 12, {"hlo_op": "fusion"})]),
        (HOST, "python", [("dispatch", 0, 50, {})]),
    )
    assert summed(device_events(path).operations) == [("conv", 6.0), ("MemcpyH2D", 4.0), ("relu", 1.0)]
    found = device_events(path)
    assert found.taken == "streams of the device"
    assert idle_share(found.busy) == pytest.approx(3 / 12)  # from 7 to 10


def test_of_a_tpu_the_operations_are_summed_without_the_loop_around_them(tmp_path):
    path = trace_of(
        tmp_path / "trace.json.gz",
        ("/device:TPU:0", "XLA Modules", [("jit_several", 0, 20, {})]),
        ("/device:TPU:0", "XLA Ops", [("while.3", 0, 20, {}), ("fusion.1", 1, 5, {}), ("fusion.1", 11, 5, {})]),
    )
    assert summed(device_events(path).operations) == [("fusion.1", 10.0)]
    assert idle_share(device_events(path).busy) == pytest.approx(5 / 15)


def test_of_a_cpu_waits_for_operations_are_no_idleness(tmp_path):
    wait = ("ThunkExecutor::Execute (wait for completion)", 4, 6, {})
    path = trace_of(
        tmp_path / "trace.json.gz",
        (HOST, "tf_XLAEigen/1", [("dot.1", 0, 4, {"hlo_op": "dot.1"}), ("add", 12, 4, {"hlo_op": "add"})]),
        (HOST, "tf_XLATfrtCpuClient/2", [wait, ("call.7", 0, 16, {"hlo_op": "call.7"})]),
        (HOST, "python", [("dispatch", 0, 50, {})]),
    )
    assert summed(device_events(path).operations) == [("dot.1", 4.0), ("add", 4.0)]
    assert idle_share(device_events(path).busy) == pytest.approx(2 / 16)


def test_without_events_nothing_is_known(tmp_path):
    path = trace_of(tmp_path / "trace.json.gz", (HOST, "python", [("dispatch", 0, 50, {})]))
    found = device_events(path)
    assert (found.taken, summed(found.operations), idle_share([])) == (
        "not known",
        [],
        None,
    )
    assert idle_share([Event("a", 1.0, 0.0)]) is None


def test_dtypes_are_those_that_products_and_convolutions_read():
    def f(x, w, half):
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y.sum() + (half @ half).astype(jnp.float32).sum()

    half = jnp.ones((3, 3), jnp.bfloat16)
    text = jax.jit(f).lower(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)), half).as_text()
    assert profiling.dtypes_of_products(text) == ["bfloat16", "float32"]
    assert profiling.dtypes_of_products(jax.jit(jnp.sin).lower(half).as_text()) == []


@pytest.mark.parametrize("per_call", [2, *thorough(1)])
def test_a_profile_has_all_figures_and_leaves_the_folder_to_a_run(tmp_path, monkeypatch, capsys, per_call):
    for name, words in {"product_peak": {"size": 64}, "copy_peak": {"numbers": 64}}.items():
        monkeypatch.setattr(profiling, name, partial(getattr(profiling, name), **words))
    spec = ArraySpec((6, 5, 1), low=0.0)
    plan = build_plan(with_run(vae_experiment(), steps_per_call=per_call), spec)
    found = profiling.profile(plan, synthetic_source(spec, 20, seed=0, dtype=np.uint8), tmp_path / "run", 3)
    profiling.show(found)
    assert (found.steps, found.steps_per_call) == (-(-3 // per_call) * per_call, per_call)
    # the encoder's and decoder's first and last products alone, and their gradients, are more than this
    assert found.flops > 3 * 2 * 8 * 30 * 8 * 2
    assert found.bytes > 2 * 4 * 30 * 8 * 2
    assert found.memory["arguments"] >= found.memory["shared"] > 0
    assert list(found.matrix_peak) == ["float32"]
    assert found.share_of_matrix_peak == pytest.approx(
        found.flops / (found.milliseconds / 1e3) / found.matrix_peak["float32"]
    )
    assert 0 <= found.device_idle < 1 and 0 < sum(found.operations.values()) <= 1 + 1e-9
    written = json.loads((tmp_path / "run" / "profile" / "profile.json").read_text())
    assert written == json.loads(json.dumps(found.to_json()))
    assert summed(device_events(tmp_path / "run" / "profile" / written["trace"]).operations)
    said = capsys.readouterr().out
    assert "compile time" in said and "device waits" in said
    check_folder(tmp_path / "run", 10, resume=False)  # as free as before


def test_the_word_is_for_fresh_steps_on_one_device(tmp_path):
    assert cli.parse_train(["ring8", "--profile", "5"]).profile == 5
    with pytest.raises(UsageError, match="leave --resume and --parallel out"):
        cli.parse_train(["ring8", "--profile", "5", "--parallel", "mesh"])
    with pytest.raises(UsageError, match="at least 1, got -1"):
        cli.parse_train(["ring8", "--profile", "-1"])
