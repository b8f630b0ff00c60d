"""Checkpoints: which are kept, that every mode reads them, and that a damaged one is one clear line."""

import dataclasses
import shutil
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.errors import RunError
from genjax_art.shards import global_mean
from genjax_art.train.checkpoint import Checkpoints
from genjax_art.train.compile import compile_step
from genjax_art.train.player import Player
from genjax_art.train.state import create_state, state_shapes
from genjax_art.train.step import make_step

# reads that Orbax has abandoned after a damaged one
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def loss(own, others, extras, batch, key):
    del others, key
    value = jnp.mean((batch["x"] @ own["w"] - own["b"]) ** 2)
    return value, ({}, {"net": {"mean": 0.9 * extras["net"]["mean"] + 0.1 * global_mean(batch["x"])}})


PLAYERS = (Player("net", loss, optax.adam(1e-2)),)


def init(key, width=3):
    params = {"net": {"w": jax.random.normal(key, (4, width)), "b": jnp.zeros((1, width))}}
    return params, {"net": {"mean": jnp.zeros(())}}


def shapes(width=3):
    return state_shapes(PLAYERS, lambda key: init(key, width), ema=("net",))


def state_at(step, width=3):
    params, extras = init(jax.random.key(step), width)
    return create_state(PLAYERS, params, extras, ema=("net",)).replace(step=jnp.int32(step))


def assert_equal(state, other):
    assert jax.tree.structure(state) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        assert (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
        np.testing.assert_array_equal(a, b)


def fill(folder, scores, **keep):
    """One checkpoint per score, at steps 10, 20, ..."""
    with Checkpoints(folder, **keep) as checkpoints:
        for i, score in enumerate(scores, 1):
            checkpoints.save(10 * i, state_at(10 * i), score)


def test_the_newest_and_the_best_are_kept(tmp_path):
    fill(tmp_path, [0.1, 5.0, 0.2, 4.0, 3.0], keep_latest=2, keep_best=1)  # the best is the oldest
    with Checkpoints(tmp_path, keep_latest=2, keep_best=1) as checkpoints:
        assert checkpoints.steps() == [10, 40, 50]
        assert checkpoints.best_step() == 10
        assert_equal(checkpoints.restore(shapes()), state_at(50))
        assert_equal(checkpoints.restore(shapes(), 10), state_at(10))
        checkpoints.save(60, state_at(60), 9.0)  # the worst of all, but the newest
        checkpoints.wait()
        assert checkpoints.steps() == [10, 50, 60]
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"10", "50", "60"}


def test_a_folder_made_anew_by_another_run_is_left_alone(tmp_path):
    """As if someone had deleted the folder of a run that was about to end, and begun another one there at once."""
    folder = tmp_path / "run" / "checkpoints"
    with pytest.raises(RunError, match="moved or deleted"), Checkpoints(folder) as old:
        old.prepare()
        shutil.rmtree(folder.parent)
        with Checkpoints(folder) as new:
            new.prepare()
            (folder.parent / ".lock").touch()
            old.save(10, state_at(10), 1.0)
            with pytest.raises(RunError, match="moved or deleted"):
                old.wait()
            new.save(20, state_at(20), 1.0)
            assert new.steps() == [20]
            old.save(30, state_at(30), 1.0)
    with Checkpoints(folder) as reader:
        assert reader.steps() == [20]


def test_checkpoints_deleted_on_the_way_do_not_end_the_run(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.prepare()
        checkpoints.save(10, state_at(10), 1.0)
        checkpoints.wait()
        shutil.rmtree(folder)
        checkpoints.save(20, state_at(20), 1.0)
        assert checkpoints.steps() == [20]
        assert_equal(state_at(20), checkpoints.restore(shapes()))


def test_a_better_one_takes_the_place_of_the_best(tmp_path):
    fill(tmp_path, [0.3, 0.2, 0.1, 1.0, 2.0], keep_latest=1, keep_best=2)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [20, 30, 50]


def test_only_the_newest_are_kept_where_none_is_to_be_the_best(tmp_path):
    fill(tmp_path, [0.1, 5.0, 0.2], keep_latest=1, keep_best=0)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [30]


def test_a_score_that_is_no_number_is_never_the_best(tmp_path):
    fill(tmp_path, [0.5, float("nan"), 0.7], keep_latest=1, keep_best=1)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step() == 10
        assert checkpoints.steps() == [10, 30]


def test_reading_deletes_nothing(tmp_path):
    fill(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0], keep_latest=5, keep_best=0)
    with Checkpoints(tmp_path) as checkpoints:  # with its defaults, as sampling does
        checkpoints.restore(shapes())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["10", "20", "30", "40", "50"]


def test_a_saved_state_may_be_changed_at_once(tmp_path):
    """Saving goes on in the background, while the loop donates the state to the next step."""
    state = jax.tree.map(np.array, state_at(1))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, 0.0)
        for leaf in jax.tree.leaves(state.params):
            leaf[...] = np.nan
    with Checkpoints(tmp_path) as checkpoints:
        assert_equal(checkpoints.restore(shapes()), state_at(1))


def test_every_mode_reads_what_pmap_has_saved(tmp_path):
    step = make_step(PLAYERS, ema={"net": 0.9})
    batches = [{"x": np.random.default_rng(n).normal(size=(8, 4)).astype(np.float32)} for n in range(4)]

    def go_on(how, state, part):
        compiled = compile_step(step, how)
        state = compiled.put_state(state)
        for batch in part:
            state, _ = compiled.step(state, compiled.put_batch(batch))
        return state

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, go_on("pmap", state_at(0), batches[:2]), 0.0)
    with Checkpoints(tmp_path) as checkpoints:
        saved = checkpoints.restore(shapes())
    assert int(saved.step) == 2
    expected = jax.device_get(go_on("jit", state_at(0), batches))
    for how in ("jit", "pmap", "mesh"):
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(go_on(how, saved, batches[2:])), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def one_line(error):
    return len(str(error.value).splitlines()) == 1


def test_another_model_is_refused(tmp_path):
    fill(tmp_path, [1.0])
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(RunError, match="10 cannot be read for this model") as wider:
            checkpoints.restore(shapes(width=5))
        with pytest.raises(RunError, match="10 cannot be read for this model") as narrower:
            checkpoints.restore(shapes(width=2))
        assert one_line(wider) and one_line(narrower)
        other = dataclasses.replace(PLAYERS[0], name="vae")
        tree = state_shapes((other,), lambda key: ({"vae": init(key)[0]["net"]}, {}))
        with pytest.raises(RunError, match="10 cannot be read for this model") as renamed:
            checkpoints.restore(tree)
        assert one_line(renamed)
        optimizer = state_shapes((dataclasses.replace(PLAYERS[0], tx=optax.sgd(1.0)),), init, ema=("net",))
        with pytest.raises(RunError, match="10 cannot be read for this model"):
            checkpoints.restore(optimizer)


def test_a_step_that_is_not_there_lists_those_that_are(tmp_path):
    fill(tmp_path / "full", [1.0, 2.0])
    with Checkpoints(tmp_path / "full") as checkpoints, pytest.raises(RunError, match=r"no checkpoint.*15.*: 10, 20$"):
        checkpoints.restore(shapes(), 15)
    with Checkpoints(tmp_path / "empty") as checkpoints, pytest.raises(RunError, match="train first"):
        checkpoints.restore(shapes())


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    fill(folder, [2.0, 1.0])
    return folder


@pytest.mark.parametrize("damage", ["truncated", "emptied", "overwritten", "removed"])
def test_a_damaged_checkpoint_is_one_clear_line(two_checkpoints, tmp_path, monkeypatch, damage):
    """Whichever of its files is damaged; and the older checkpoint can still be read."""
    monkeypatch.setattr("sys.unraisablehook", sys.unraisablehook)  # put back afterwards
    files = [path.relative_to(two_checkpoints) for path in (two_checkpoints / "20").rglob("*") if path.is_file()]
    assert len(files) > 4
    noticed = 0
    for i, file in enumerate(files):
        folder = tmp_path / str(i)
        shutil.copytree(two_checkpoints, folder)
        content = (folder / file).read_bytes()
        if damage == "removed":
            (folder / file).unlink()
        else:
            broken = {"truncated": content[: len(content) // 2], "emptied": b"", "overwritten": b"x" * len(content)}
            (folder / file).write_bytes(broken[damage])
        try:
            with Checkpoints(folder) as checkpoints:
                assert_equal(checkpoints.restore(shapes(), 10), state_at(10))
                state = checkpoints.restore(shapes())
        except RunError as error:
            noticed += 1
            assert str(folder) in str(error) and "\n" not in str(error), file
        else:
            assert_equal(state, state_at(20))  # the file was not needed: never wrong numbers
    assert noticed > 0
    time.sleep(0.2)  # the last abandoned reads
