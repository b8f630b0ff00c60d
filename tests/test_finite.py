"""Numbers that are not finite: found in the step, skipped, rolled back, and never in a checkpoint."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import noise, vae_experiment

from genjax_art.build import build_plan
from genjax_art.config import from_json, to_json, with_run
from genjax_art.data.contract import ArraySource
from genjax_art.errors import RunError
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.finite import (
    FINITE,
    ROLLBACKS,
    SKIPPED,
    NotFinite,
    all_finite,
    check_state,
    rollbacks_of,
    seed_of,
    skipping,
    with_rollbacks,
)
from genjax_art.train.player import Player
from genjax_art.train.rows import read_metrics
from genjax_art.train.seeds import Seeds
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

pytestmark = pytest.mark.usefixtures("compiled_once")
GREY = ArraySpec((12, 10, 1), classes=("a", "b", "c"))


def player(bad_extras=False):
    """Its gradient is the mean of the rows; its extras are their largest, or a division by zero."""

    def loss(own, others, extras, batch, key):
        del others, key
        value = jnp.max(batch["x"])
        return own["w"] * jnp.mean(batch["x"]), ({}, {"a": {"largest": value / 0.0 if bad_extras else value}})

    return Player("a", loss, optax.sgd(1.0))


def start(one):
    return create_state((one,), {"a": {"w": jnp.float32(0)}}, {"a": {"largest": jnp.float32(0)}}, ema=("a",))


def batch(*rows):
    return {"x": jnp.asarray(rows, jnp.float32)}


@pytest.mark.parametrize(("rows", "finite"), [((1, 2), 1), ((1, np.nan), 0), ((np.inf, 1), 0), ((3e38, 3e38), 0)])
def test_the_step_says_whether_all_is_finite(rows, finite):
    _, metrics = jax.jit(make_step((player(),)))(start(player()), batch(*rows))
    assert float(metrics[FINITE]) == finite


def test_the_step_sees_what_is_carried_on():
    bad = player(bad_extras=True)
    _, metrics = make_step((bad,))(start(bad), batch(1, 2))
    assert float(metrics[FINITE]) == 0
    assert all(np.isfinite(value) for value in metrics.values())


def test_all_finite_is_of_numbers_with_fractions():
    assert all_finite({}) and all_finite({"n": jnp.int32(3), "x": jnp.ones(2)})
    assert not all_finite([jnp.ones(3), jnp.asarray([1.0, -np.inf], jnp.bfloat16)])


def test_a_skipped_step_changes_nothing_but_the_count():
    step = jax.jit(skipping(make_step((player(),), ema={"a": 0.5})))
    good, metrics = step(start(player()), batch(1, 3))
    assert (float(good.params["a"]["w"]), float(good.ema["a"]["w"]), float(metrics[SKIPPED])) == (-2.0, -1.0, 0.0)
    same, metrics = step(good, batch(1, np.nan))
    assert float(metrics[SKIPPED]) == 1 and np.isnan(metrics["a/loss"])
    assert int(same.step) == 2
    assert jax.tree.all(jax.tree.map(np.array_equal, same.replace(step=0), good.replace(step=0)))
    after, _ = step(same, batch(1, 3))
    assert float(after.params["a"]["w"]) == -4.0


def test_members_skip_on_their_own():
    seeds, one = Seeds(0, 3), start(player())
    state = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), one.replace(step=None)).replace(step=one.step)
    rows = {"x": jnp.asarray([[1.0, 3.0], [1.0, np.nan], [5.0, 7.0]])}
    state, metrics = jax.jit(seeds.lift(skipping(make_step((player(),), ema={"a": 0.5}))))(state, rows)
    assert state.params["a"]["w"].tolist() == [-2.0, 0.0, -6.0]
    assert (float(metrics[SKIPPED]), float(metrics["a/grad_norm"])) == (1.0, 4.0)
    assert float(metrics["a/grad_norm_sd"]) == pytest.approx(np.std([2, 6], ddof=1))
    _, metrics = jax.jit(seeds.lift(make_step((player(),))))(state, rows)
    assert float(metrics[FINITE]) == 0  # one is enough


def test_the_noise_of_a_rollback_tells_its_number():
    assert [rollbacks_of(7, seed_of(7, n)) for n in range(ROLLBACKS + 1)] == [0, 1, 2, 3]
    assert seed_of(7, 0) == 7
    assert len({seed_of(seed, n) for seed in range(20) for n in range(4)}) == 80
    state = start(player()).replace(seed=np.asarray([7, 8], np.int32))
    assert with_rollbacks(state, 7, 2).seed.tolist() == [seed_of(7, 2), seed_of(8, 2)]


@pytest.mark.parametrize("part", ["ema", "extras", "opt_state", "params"])
def test_a_state_with_such_a_number_is_refused(part):
    state = start(player()).replace(opt_state={"a": {"m": jnp.ones(2)}})
    check_state(state)
    broken = jax.tree.map(lambda leaf: leaf * np.nan, getattr(state, part))
    with pytest.raises(NotFinite, match=f"{part}/a/.* is not finite at step 0; the last checkpoint") as error:
        check_state(state.replace(**{part: broken}))
    assert "--on-nan" in str(error.value) and "\n" not in str(error.value)


# whole runs


@pytest.fixture
def in_order(quick_runs, monkeypatch):
    """Step n sees rows 8n to 8n + 7, and samples are not scored."""

    def indices(length, *, batch_size, n, **_):
        return np.arange(n * batch_size, (n + 1) * batch_size) % length

    monkeypatch.setattr("genjax_art.data.batches.batch_indices", indices)
    monkeypatch.setattr("genjax_art.run.training.scorer", lambda *_: lambda state: 0.0)


def broken(*steps):
    """A source of which one example of each of these steps (from 1) is not a number."""
    source = noise(ArraySpec(GREY.shape, kind="points", classes=GREY.classes, bounded=False), 64)
    x = source.arrays["x"].copy()
    x[[8 * step - 3 for step in steps]] = np.nan
    return ArraySource(GREY, {**source.arrays, "x": x})


def plan_of(**options):
    return build_plan(with_run(vae_experiment(), steps=8, save_every=2, sample_every=0, **options), GREY)


def restored(plan, folder):
    with Checkpoints(folder / layout.CHECKPOINTS) as checkpoints:
        return checkpoints.restore(plan.state_shapes())


def test_skipped_steps_are_counted_and_the_run_goes_on(in_order, tmp_path):
    plan = plan_of(on_nan="skip", log_every=4)
    assert run(plan, broken(2, 3, 7), tmp_path, how="jit") == 0
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row[SKIPPED]) for row in rows] == [(4, 2.0), (8, 1.0)]
    assert all(np.isfinite(value) for row in rows for value in row.values())
    check_state(restored(plan, tmp_path))
    count = [leaf for leaf in jax.tree.leaves(restored(plan, tmp_path).opt_state) if leaf.dtype == np.int32]
    assert {int(n) for n in count} == {5}


def test_a_run_that_only_skips_ends(in_order, tmp_path):
    plan = build_plan(with_run(vae_experiment(), steps=40, on_nan="skip", log_every=20, sample_every=0), GREY)
    with pytest.raises(RunError, match="all of the last 20 steps were skipped"):
        run(plan, broken(*range(1, 9)), tmp_path, how="jit")


@pytest.fixture
def faulty_noise(in_order, monkeypatch):
    """Step 5 is not a number with the first noise; with other noise the same data pass."""

    def faulty(step):
        def once(state, data):
            new, metrics = step(state, data)
            fault = (state.seed == seed_of(0, 0)) & (state.step == 4)
            return new, {**metrics, "vae/loss": jnp.where(fault, jnp.nan, metrics["vae/loss"])}

        return once

    monkeypatch.setattr("genjax_art.run.training.make_step", lambda *a, **k: faulty(make_step(*a, **k)))


def test_a_rollback_goes_on_with_new_noise(faulty_noise, tmp_path, capsys):
    plan = plan_of(on_nan="rollback")
    assert run(plan, broken(), tmp_path / "run", how="jit") == 0
    assert "vae/loss is nan at step 5: back to step 4 with new noise (1 of 3)" in capsys.readouterr().err
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == list(range(1, 9))
    state = restored(plan, tmp_path / "run")
    assert (int(state.step), rollbacks_of(0, int(state.seed))) == (8, 1)


@pytest.mark.parametrize("stop", [4, 6])
def test_a_rollback_is_the_same_in_a_run_that_was_interrupted(faulty_noise, tmp_path, stop):
    """Whether it was ended before the fault or after the rollback."""
    plan = plan_of(on_nan="rollback")
    assert run(plan, broken(), tmp_path / "whole", how="jit") == 0
    assert run(with_run(plan, steps=stop), broken(), tmp_path / "parts", how="jit") == 0
    assert run(plan, broken(), tmp_path / "parts", how="jit", resume=True) == 0
    pairs = zip(*(jax.tree.leaves(restored(plan, tmp_path / name)) for name in ("whole", "parts")), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("first_bad", [2, 6])
def test_rollbacks_end(in_order, tmp_path, capsys, first_bad):
    """Data that are at fault come again: three rollbacks, then the run stops and keeps what is good."""
    plan = plan_of(on_nan="rollback")
    with pytest.raises(NotFinite, match=rf"is nan at step {first_bad}; .*\(after 3 rollbacks\)"):
        run(plan, broken(first_bad), tmp_path, how="jit")
    assert capsys.readouterr().err.count("with new noise") == 3
    assert layout.last_step(tmp_path) == first_bad - 2
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, first_bad))


def test_a_bad_average_is_in_no_checkpoint(in_order, tmp_path, monkeypatch):
    """It is in no loss, so nothing but the look at the state finds it."""

    def with_bad_average(*arguments, **options):
        step = make_step(*arguments, **options)

        def bad(state, data):
            new, metrics = step(state, data)
            return new.replace(ema=jax.tree.map(lambda x: jnp.where(new.step > 4, np.nan, x), new.ema)), metrics

        return bad

    monkeypatch.setattr("genjax_art.run.training.make_step", with_bad_average)
    with pytest.raises(NotFinite, match=r"ema/vae/.* is not finite at step 6"):
        run(plan_of(), broken(), tmp_path, how="jit")
    assert layout.last_step(tmp_path) == 4


def test_an_unknown_remedy_is_refused():
    data = to_json(vae_experiment())
    with pytest.raises(ValueError, match=r'experiment\.run\.on_nan: "pray" is not one of stop, skip, rollback'):
        from_json({**data, "run": {**data["run"], "on_nan": "pray"}})
