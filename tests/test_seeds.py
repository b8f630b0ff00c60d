"""Several seeds in one step are the single runs of those seeds; their metrics are mean and standard deviation."""

import jax
import numpy as np
import pytest

from genjax_art.build import build_plan
from genjax_art.cli import parse_sample
from genjax_art.config import Component, Experiment, Optimizer, RunOptions, with_run
from genjax_art.data.contract import synthetic_source
from genjax_art.errors import RunError
from genjax_art.run.load import load_state
from genjax_art.run.training import initial_state, run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.rows import read_metrics

POINTS = ArraySpec((2,), -1.0, 1.0, "points", bounded=False)
K, STEPS, FIRST = 2, 4, 5


def experiment(**changes):
    tiny = Experiment(
        name="tiny",
        model=Component("mlp", {"latents": 2, "width": 8}),
        objective=Component("gan", {"discriminator_repeats": 2}),
        optimizers={"discriminator": Optimizer(1e-2), "generator": Optimizer(1e-2)},
        data=Component("ring8"),
        ema_half_life={"generator": 20.0},
        run=RunOptions(batch_size=6, steps=STEPS, seed=FIRST, log_every=1, sample_every=STEPS, save_every=STEPS),
    )
    return with_run(tiny, **changes)


def trained(folder, **changes):
    plan = build_plan(experiment(**changes), POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)
        assert run(plan, synthetic_source(POINTS, 50, seed=1), folder, how="jit") == 0
    with Checkpoints(folder / "checkpoints") as checkpoints:
        return plan, checkpoints.restore(plan.state_shapes()), read_metrics(folder / "metrics.jsonl")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "run"
    return folder, *trained(folder, seeds=K)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return [trained(tmp_path_factory.mktemp("seed") / "run", seed=FIRST + i) for i in range(K)]


def test_each_member_is_the_run_of_its_seed(together, alone):
    _, plan, state, _ = together
    for i, (_, single, _) in enumerate(alone):
        one = plan.seeds.member(state, i)
        assert int(one.step) == STEPS
        assert int(one.seed) == FIRST + i
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_metrics_are_mean_and_standard_deviation_of_the_members(together, alone):
    _, _, _, rows = together
    for name in ("discriminator/loss", "generator/loss"):
        values = np.array([[row[name] for row in single] for _, _, single in alone])
        np.testing.assert_allclose([row[name] for row in rows], values.mean(0), rtol=1e-4)
        np.testing.assert_allclose([row[f"{name}_sd"] for row in rows], values.std(0, ddof=1), atol=1e-5)


def test_a_member_is_drawn_from_the_checkpoint(together, alone):
    folder, plan, _, _ = together
    for i, (_, single, _) in enumerate(alone):
        one = load_state(plan, folder, member=i)
        np.testing.assert_allclose(
            one.ema["generator"]["Dense_0"]["kernel"], single.ema["generator"]["Dense_0"]["kernel"], atol=2e-5
        )
    with pytest.raises(RunError, match=r"no member 2.*--seeds 2"):
        load_state(plan, folder, member=K)
    assert parse_sample([str(folder), "--member", "1"]).drawing.member == 1


def test_shapes_for_restoring_are_those_of_the_state(together):
    _, plan, _, _ = together
    same = jax.tree.map(
        lambda a, b: a.shape == b.shape and a.dtype == b.dtype, plan.state_shapes(), initial_state(plan)
    )
    assert all(jax.tree.leaves(same))


def test_several_seeds_take_one_device(tmp_path):
    plan = build_plan(experiment(seeds=2), POINTS)
    with pytest.raises(RunError, match=r"one device.*--parallel pmap"):
        run(plan, synthetic_source(POINTS, 50, seed=1), tmp_path / "run", how="pmap")
