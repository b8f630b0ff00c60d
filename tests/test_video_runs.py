"""A run on clips through what the commands do: swapped, longer, continued, walked through; in all parallel modes."""

import dataclasses
import importlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import share_compiled
from PIL import Image
from small import noise, noise_batch
from test_parallel import assert_same
from test_resume import assert_bitwise_equal

from genjax_art import load_run
from genjax_art.build import build_plan
from genjax_art.config import Component, Experiment, Optimizer, RunOptions, with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.media.medium import Reading
from genjax_art.objectives.method import standard_normal
from genjax_art.run.training import initial_state, run
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.step import make_step
from genjax_art.verbs import grid, longer, swap, walk
from genjax_art.verbs.output import Output

continued = importlib.import_module("genjax_art.verbs.continue_")
SPEC = ArraySpec((4, 9, 7, 1), kind="clip", rate=5.0)
EXPERIMENT = Experiment(
    name="tiny-video-vae",
    model=Component("video_vae", {"content": 3, "motion": 2, "width": 4, "hidden": 8, "recurrent": 6}),
    objective=Component("video_vae", {"kl_warmup_steps": 3}),
    optimizers={"vae": Optimizer(1e-2)},
    run=RunOptions(batch_size=16, steps=2, log_every=1, sample_every=0, save_every=1),
    ema_half_life={"vae": 50.0},
)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """`train(folder, steps)`, on 40 clips of noise; the step is compiled once."""
    plan, patch = build_plan(EXPERIMENT, SPEC), pytest.MonkeyPatch()
    share_compiled(patch)
    patch.setattr("genjax_art.train.curves.draw_curves", lambda rows, path: None)

    def to(folder, steps, resume=False):
        assert run(with_run(plan, steps=steps), noise(SPEC, 40), folder, how="jit", resume=resume) == 0
        return folder

    yield to
    patch.undo()


@pytest.fixture(scope="module")
def folder(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("video") / "run", 2)


@pytest.fixture(scope="module")
def trained(folder):
    return load_run(folder)


def arrays(paths):
    (path,) = paths
    with np.load(path) as found:
        return found["x"]


def to(path):
    return Output(path, named=True)


def test_a_row_keeps_the_content_and_a_column_the_motion(trained, tmp_path):
    table = arrays(swap.draw(trained, to(tmp_path / "swap.npz"), n=3, seed=2)).reshape(3, 3, *SPEC.shape)
    samples = arrays(grid.draw(trained, to(tmp_path / "grid.npz"), n=3, seed=2))
    np.testing.assert_allclose(table[range(3), range(3)], samples, atol=1e-5)  # on the diagonal
    z = trained.draw(swap.fold(jax.random.key(2), "latents"), 3)
    other = {"content": z["content"][[1]], "motion": z["motion"][[2]]}
    np.testing.assert_allclose(table[1, 2], trained.decode(other)[0], atol=1e-5)
    paths = swap.draw(trained, Output(tmp_path / "swap"), n=3)
    assert {path.suffix for path in paths} == {".gif", ".png"} and all(path.stat().st_size for path in paths)


def test_clips_of_the_users_are_swapped_beside_themselves(trained, tmp_path, monkeypatch):
    own = {name: noise_batch(SPEC, 2, seed)["x"].reshape(8, *SPEC.shape[1:]) for seed, name in enumerate("ab")}
    monkeypatch.setattr("genjax_art.run.load.read", lambda file, spec, known: Reading(file.name, own[file.name]))
    files = tuple(tmp_path / name for name in own)
    table = arrays(swap.draw(trained, to(tmp_path / "swap.npz"), file=files)).reshape(3, 3, *SPEC.shape)
    first = np.stack([clip[:4] for clip in own.values()])
    np.testing.assert_array_equal(table[0, 1:], first)
    np.testing.assert_array_equal(table[1:, 0], first)
    assert (table[0, 0] == SPEC.low).all()
    np.testing.assert_allclose(table[[1, 2], [1, 2]], trained.decode(trained.encode(first)), atol=1e-5)
    own["b"] = own["b"][:3]
    with pytest.raises(RunError, match="b has 3 frames and this run's clips 4"):
        swap.draw(trained, to(tmp_path / "x.npz"), file=files)
    with pytest.raises(UsageError, match="no file or two and more; got 1"):
        swap.draw(trained, to(tmp_path / "x.npz"), file=files[:1])


def test_longer_samples_begin_as_samples_and_go_on(trained, tmp_path, monkeypatch):
    samples = arrays(grid.draw(trained, to(tmp_path / "grid.npz"), n=3, seed=4))
    x = arrays(longer.draw(trained, to(tmp_path / "long.npz"), n=3, seed=4, frames=10))
    assert x.shape == (3, 10, *SPEC.shape[1:]) and (x[:, 4:] != x[:, :1]).any()
    np.testing.assert_allclose(x[:, :4], samples, atol=1e-5)
    monkeypatch.setattr(longer, "CHUNK", 2)  # one at a time
    np.testing.assert_allclose(
        arrays(longer.draw(trained, to(tmp_path / "l.npz"), n=3, seed=4, frames=10)), x, atol=1e-5
    )
    paths = longer.draw(trained, Output(tmp_path / "longer"), n=2, frames=6)
    with Image.open(next(path for path in paths if path.suffix == ".gif")) as film:
        assert film.n_frames == 6 and film.info["duration"] == 200  # at the rate of the data
    with pytest.raises(UsageError, match="--frames must be at least 1"):
        longer.draw(trained, to(tmp_path / "x.npz"), frames=0)


@pytest.mark.parametrize("own", [9, 1])
def test_a_clip_of_the_users_goes_on_at_once(trained, tmp_path, monkeypatch, own):
    """Given half a window before, or what there is of a shorter one; the whole is the user's and then the new."""
    whole = noise_batch(SPEC, 3)["x"].reshape(12, *SPEC.shape[1:])[:own]
    monkeypatch.setattr("genjax_art.run.load.read", lambda file, spec, known: Reading(file.name, whole, 12.0))
    wholes = []
    monkeypatch.setattr(Output, "wholes", lambda self, run, x, about, rate, in_one: wholes.append((x[0], rate)) or [])
    for seed in (0, 0, 1):
        continued.draw(trained, to(tmp_path / "more.gif"), file=tmp_path / "mine", n=7, seed=seed)
    (a, rate), (b, _), (c, _) = wholes
    assert rate == 12.0 and a.shape == (own + 7, *SPEC.shape[1:])
    np.testing.assert_array_equal(a[:own], whole)
    np.testing.assert_array_equal(a, b)
    assert np.abs(a[own:] - c[own:]).max() > 1e-4
    given = min(own, 2)
    x = np.pad(whole[-given:], [(0, 7), (0, 0), (0, 0), (0, 0)])[None]
    key = jax.random.fold_in(continued.fold(jax.random.key(0), "continuation"), own)
    proceed = jax.jit(trained.method.abilities["proceed"], static_argnums=2)
    expected = proceed(trained.weights, jnp.asarray(x), given, key)
    np.testing.assert_allclose(a[own:], expected[0, given:], atol=1e-5)


def test_a_walk_is_one_film_whose_content_changes_while_the_motion_goes_on(trained, tmp_path):
    wholes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "wholes", lambda self, run, x, about, rate, in_one: wholes.append(x[0]) or [])
        walk.draw(trained, Output(tmp_path / "walk"), n=2, seed=3)
    (film,) = wholes
    assert film.shape == (8, *SPEC.shape[1:])
    written = arrays(walk.draw(trained, to(tmp_path / "walk.npz"), n=2, seed=3))
    np.testing.assert_array_equal(written, film[None])
    motion = trained.method.abilities["longer"](
        trained.weights, walk.fold(jax.random.key(3), "latents"), 1, None, swap.Spread(), 8
    )["motion"]
    anchors = trained.draw(walk.fold(jax.random.key(3), "latents"), 2)["content"]
    for place, anchor in ((0, 0), (4, 1)):  # there it is the content of a sample
        z = {"content": anchors[[anchor]], "motion": np.asarray(motion)}
        np.testing.assert_allclose(film[place], trained.decode(z)[0, place], atol=1e-5)


def test_runs_that_cannot_say_so_in_one_line(trained, tmp_path):
    plain = dataclasses.replace(trained.method, draw=standard_normal(3), abilities={})
    other = dataclasses.replace(trained, plan=dataclasses.replace(trained.plan, method=plain))
    for verb, words in (
        (lambda: swap.draw(other, to(tmp_path / "x.npz")), "latents are not content and motion: choose a run on clips"),
        (lambda: longer.draw(other, to(tmp_path / "x.npz"), frames=3), "cannot longer: choose a run on clips"),
    ):
        with pytest.raises(RunError, match=words) as raised:
            verb()
        assert "\n" not in str(raised.value)


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["pmap", "mesh"])
def test_all_modes_train_the_same(how):
    plan = build_plan(EXPERIMENT, SPEC)
    start, results = jax.device_get(initial_state(plan)), []
    for mode in ("jit", how):
        compiled = compile_step(make_step(plan.method.players, ema=plan.ema), mode)
        state = compiled.put_state(start)
        for n in range(4):
            state, metrics = compiled.step(state, compiled.put_batch(noise_batch(SPEC, 16, seed=n)))
        results.append(jax.device_get((state, metrics)))
    one, other = results
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (start.params, one[0].params)), strict=True)]
    assert np.median(moved) > 1e-3
    assert_same(one, other)


def test_a_resumed_run_is_the_uninterrupted_one(train, folder, tmp_path):
    """The weight of the KL rises by the count of steps, which goes on, too."""
    parts = shutil.copytree(folder, tmp_path / "parts")
    train(parts, 4, resume=True)
    whole = train(tmp_path / "whole", 4)
    assert_bitwise_equal(build_plan(EXPERIMENT, SPEC), whole, parts)
