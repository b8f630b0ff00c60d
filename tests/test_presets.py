"""Every preset, shrunk: it trains, resumes and draws. And on CPU no preset falls into the slow convolutions."""

import jax
import numpy as np
import pytest
from helpers import slow_convolutions, thorough
from small import noise, shrink, smaller, spec_of

from genjax_art import load_run
from genjax_art.build import build_plan, load_preset, preset_names
from genjax_art.config import with_run
from genjax_art.run import layout
from genjax_art.run.training import run
from genjax_art.train.rows import read_metrics
from genjax_art.train.state import state_shapes
from genjax_art.train.step import batches_per_step, make_step
from genjax_art.verbs import grid
from genjax_art.verbs.output import Output


def of_each_kind() -> list[str]:
    """The names of presets, one for each model with each objective on each medium, with labels and without."""
    kinds: dict[tuple[object, ...], str] = {}
    for name in sorted(preset_names(), key=lambda name: not name.endswith("-small")):
        preset = load_preset(name)
        spec = spec_of(preset.data)
        labelled = bool(build_plan(preset, spec).method.classes)
        kinds.setdefault((preset.model.name, preset.objective.name, spec.kind, labelled), name)
    return sorted(kinds.values())


# of the same networks and game as another one, with labels or without, in other sizes
LIKE_OTHERS = ("dcgan", "mocogan-sprites", "r3gan-cifar10", "sngan-cifar10")
# whose game another one plays with other networks, which have tests of their own, or that are trained in those
TRAINED_ELSEWHERE = ("can-art", "conv-vae", "mlp-gan", "music-vae-small", "r3gan-small", "video-vae-digits")
WITHOUT_CONVOLUTIONS = ("muse-gan-small", "music-vae-small")
OFTEN = [name for name in of_each_kind() if name not in LIKE_OTHERS]


def often_but(names):
    often = [name for name in OFTEN if name not in names]
    return [*often, *thorough(*sorted(set(preset_names()) - set(often)))]


@pytest.mark.parametrize("name", often_but(TRAINED_ELSEWHERE))
def test_presets_train_resume_and_draw(name, quick_runs, compiled_once, tmp_path):
    preset = load_preset(name)
    spec = smaller(spec_of(preset.data))
    plan, source = build_plan(shrink(preset), spec), noise(spec)
    assert run(with_run(plan, steps=1), source, tmp_path, how="jit") == 0
    assert run(plan, source, tmp_path, how="jit", resume=True) == 0
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    losses = [value for key, value in rows[1].items() if key.endswith("/loss")]
    assert len(losses) == len(plan.method.players) and np.isfinite(losses).all()
    assert list((tmp_path / layout.SAMPLES).iterdir())
    drawn = load_run(tmp_path)
    state = drawn.state
    assert drawn.step == 2
    changed = [player for player in state.ema if not equal(state.ema[player], state.params[player])]
    assert changed == list(plan.ema)  # the average lags behind
    paths = grid.draw(drawn, Output(tmp_path / "drawn"), n=3)
    assert [path.suffix for path in paths if path.suffix in drawn.medium.samples] == list(drawn.medium.samples)
    assert all(path.stat().st_size > 0 for path in paths)
    (path,) = grid.draw(drawn, Output(tmp_path / "drawn.npz", named=True), n=3)
    with np.load(path) as arrays:
        assert arrays["x"].shape == (3, *spec.shape) and np.isfinite(arrays["x"]).all()
        assert ("label" in arrays) == bool(plan.method.classes)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("name", often_but(WITHOUT_CONVOLUTIONS))
def test_no_preset_falls_into_slow_convolutions(name):
    """The whole step in the preset's own size, but for the batch, lowered for CPU: nothing is compiled or computed."""
    preset = load_preset(name)
    spec = spec_of(preset.data)
    plan = build_plan(with_run(preset, batch_size=2), spec)
    players = plan.method.players
    rows = 2 * batches_per_step(players)
    batch = {"x": jax.ShapeDtypeStruct((rows, *spec.shape), np.float32)}
    if spec.classes:
        batch["label"] = jax.ShapeDtypeStruct((rows,), np.int32)
    state = state_shapes(players, plan.method.init, plan.ema)
    lowered = jax.jit(make_step(players, ema=plan.ema)).trace(state, batch).lower(lowering_platforms=("cpu",))
    assert slow_convolutions(lowered.as_text()) == []


def test_the_guard_sees_slow_convolutions():
    """The gradient of a strided convolution as JAX writes it."""

    def loss(x, w):
        return jax.lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).sum()

    text = (
        jax.jit(jax.grad(loss)).lower(np.zeros((2, 8, 8, 1), np.float32), np.zeros((3, 3, 1, 1), np.float32)).as_text()
    )
    assert slow_convolutions(text)
