"""Several steps in one call, on data that lie on the device or not: the numbers, logs and files of one step a call.

Bit for bit, on CPU.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from helpers import thorough
from small import gan_experiment

from genjax_art.build import build_plan
from genjax_art.config import Component, with_run
from genjax_art.data.batches import batch_at, to_range
from genjax_art.data.contract import array_source, synthetic_source
from genjax_art.errors import RunError
from genjax_art.run import feed
from genjax_art.run.training import compile_plan, initial_state, run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.compile import Compiled
from genjax_art.train.loop import Hook, train
from genjax_art.train.resident import HOST
from genjax_art.train.rows import read_metrics

pytestmark = pytest.mark.usefixtures("quick_runs")
GREY = ArraySpec((12, 10, 1), classes=("a", "b", "c"))
RUN = {"steps": 8, "batch_size": 8, "log_every": 4, "sample_every": 0, "save_every": 8, "steps_per_call": 1}


@functools.cache
def source():
    return synthetic_source(GREY, 41, seed=0, dtype=np.uint8)


def plan_of(model="mlp", **changes):
    experiment = dataclasses.replace(gan_experiment(), model=Component(model, {"width": 8, "latents": 4}))
    return build_plan(with_run(experiment, **{**RUN, **changes}), GREY)


def result(folder, how="jit", model="mlp", **changes):
    plan = plan_of(model, **changes)
    assert run(plan, source(), folder, how=how) == 0
    with Checkpoints(folder / "checkpoints") as checkpoints:
        return jax.device_get(checkpoints.restore(plan.state_shapes())), read_metrics(folder / "metrics.jsonl")


def assert_same(one, other):
    """The states and the rows, bit for bit."""
    (a, rows), (b, twins) = one, other
    assert rows == twins
    for (path, leaf), twin in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(leaf, twin, err_msg=jax.tree_util.keystr(path))


def measured(rows):
    """What the rows say of the training, without the clock's."""
    return [
        {k: v for k, v in row.items() if not k.startswith(("seconds", "images_per_second", "time"))} for row in rows
    ]


@pytest.mark.parametrize("how", ["jit", "mesh", *thorough("pmap")])
@pytest.mark.parametrize("model", ["dcgan", *thorough("mlp")])
def test_a_run_is_the_same_however_many_steps_a_call_has(tmp_path, monkeypatch, model, how):
    def of(name, **changes):
        state, rows = result(tmp_path / name, how, model, **changes)
        assert int(state.step) == 8
        return state, measured(rows)

    one = of("one")
    assert_same(one, of("two", steps_per_call=2))
    assert_same(one, of("four", steps_per_call=4))
    assert feed.data_of(plan_of(steps_per_call=4), source()).arrays
    monkeypatch.setattr(feed, "MOST", 10)  # bytes: the data stay on the host
    assert feed.data_of(plan_of(steps_per_call=4), source()) is HOST
    assert_same(one, of("host", steps_per_call=4))


def test_batches_gathered_on_the_device_are_those_of_the_host():
    plan = plan_of(steps_per_call=2)
    data = feed.data_of(plan, source())
    stream = feed.stream_of(plan, source(), 3, data)
    arrays = jax.device_put(dict(data.arrays))
    for n in range(3, 7):
        batch = jax.jit(data.read)(next(stream), arrays)
        expected = batch_at(source(), n, batch_size=8, seed=plan.run.seed)
        assert batch.keys() == expected.keys()
        for name, x in expected.items():
            np.testing.assert_array_equal(batch[name], x)
            assert batch[name].dtype == x.dtype
    floats = synthetic_source(ArraySpec((6, 5, 1)), 9, seed=1)
    kept, rows = feed.data_of(plan, floats), np.array([8, 0])
    found = jax.jit(kept.read)({"rows": rows}, dict(kept.arrays))
    np.testing.assert_array_equal(found["x"], floats.take(rows)["x"])


def test_every_byte_is_the_number_that_the_host_makes_of_it():
    x = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    for low, high in ((-1.0, 1.0), (0.0, 1.0), (-0.3, 7.1)):
        own = array_source(x, low=low, high=high)
        data = feed.data_of(plan_of(steps_per_call=2), own)
        found = jax.jit(data.read)({"rows": np.arange(256, dtype=np.int32)}, dict(data.arrays))["x"]
        np.testing.assert_array_equal(found, to_range(x, own.spec))


@pytest.mark.thorough
def test_seeds_gather_each_their_own_rows(tmp_path):
    (one, rows), (several, twins) = (
        result(tmp_path / name, seeds=2, **changes) for name, changes in (("one", {}), ("four", {"steps_per_call": 4}))
    )
    assert_same((one, measured(rows)), (several, measured(twins)))


def test_what_is_due_ends_a_call():
    """Logs and hooks see the same steps; no call goes beyond one. No log waits for a call without the next being sent.

    Each is noted with the steps that had been sent by then.
    """
    calls, logs, saves = [], [], []
    plan = plan_of()
    inner = compile_plan(plan, "jit")

    def counted(length, step):
        def call(state, batch):
            calls.append(length)
            return step(state, batch)

        return call

    compiled = Compiled(
        counted(1, inner.step),
        counted(3, inner.several),
        inner.put_state,
        inner.put_batch,
        inner.put_batches,
        "jit",
    )
    stream = feed.stream_of(plan, source(), 0)
    train(
        compiled,
        compiled.put_state(initial_state(plan)),
        stream,
        steps=11,
        log=lambda step, _: logs.append((step, sum(calls))),
        log_every=4,
        hooks=[Hook(6, lambda step, _: saves.append((step, sum(calls))))],
        steps_per_call=3,
    )
    assert logs == [(4, 5), (8, 11), (11, 11)]
    assert saves == [(6, 6), (11, 11)]
    assert calls == [3, 1, 1, 1, 1, 1, 3]
    with pytest.raises(RunError, match="the data ended after step 2 of 9"):
        train(compiled, compiled.put_state(initial_state(plan)), [next(stream)] * 2, steps=9, steps_per_call=3)
    logs.clear()
    with pytest.raises(RunError, match="the data ended after step 2 of 9"):
        state = compiled.put_state(initial_state(plan))
        train(compiled, state, [next(stream)] * 2, steps=9, log=lambda step, _: logs.append(step), log_every=2)
    assert logs == [2]


def test_the_default_divides_the_cycles_of_a_run_and_is_one_on_cpu(monkeypatch):
    plan = plan_of(steps_per_call=0, log_every=50, sample_every=500, save_every=1000)
    assert feed.steps_per_call(plan) == 1
    assert feed.data_of(plan, source()) is HOST
    monkeypatch.setattr(jax, "default_backend", lambda: "cuda")
    assert feed.steps_per_call(plan) == 25
    assert feed.steps_per_call(plan_of(steps_per_call=0, log_every=7, sample_every=0, save_every=21)) == 7
    assert feed.steps_per_call(plan_of(steps_per_call=3)) == 3
