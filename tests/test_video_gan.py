"""GANs of clips: content that stays, motion for any number of frames, two judges, a still background."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import video_gan_experiment

from genjax_art.build import build_plan
from genjax_art.config import Component
from genjax_art.errors import UsageError
from genjax_art.latents import TYPICAL
from genjax_art.models import dcgan, mocogan, video_dcgan
from genjax_art.objectives import video_gan
from genjax_art.objectives.method import Weights
from genjax_art.spec import ArraySpec

SPEC = ArraySpec((4, 9, 8, 3), kind="clip", classes=("a", "b", "c"))
SMALL = {"content": 3, "motion": 2, "state": 4, "width": 4, "frames_width": 4, "clips_width": 4, "conditional": True}
KEY, ROWS = jax.random.key(0), 4
LABEL = jnp.arange(ROWS) % 3


@functools.cache
def networks(**options):
    return mocogan.build(SPEC, **{**SMALL, **options})


@functools.cache
def variables():
    generator = networks()["generator"]
    return jax.jit(generator.init)(KEY, latents(), LABEL)


def latents(frames=None, rows=ROWS):
    return networks()["generator"].draw(jax.random.normal, KEY, rows, frames)


def decoded(z, label=LABEL):
    apply = jax.jit(networks()["generator"].apply, static_argnames="train")
    return apply(variables(), z, label, train=False)


def experiment(**objective):
    whole = video_gan_experiment(**SMALL)
    return dataclasses.replace(whole, objective=Component("video_gan", objective))


def test_a_frame_depends_on_the_content_and_the_motion_up_to_it():
    z = latents()
    x = decoded(z)
    assert x.shape == (ROWS, *SPEC.shape)
    later = decoded({**z, "motion": z["motion"].at[:, 2].add(1.0)})
    np.testing.assert_allclose(later[:, :2], x[:, :2], atol=1e-6)
    assert np.abs(later[:, 2:] - x[:, 2:]).max((0, 2, 3, 4)).min() > 1e-3
    other = decoded({**z, "content": z["content"].at[:, 0].add(1.0)})
    assert np.abs(other - x).max((0, 2, 3, 4)).min() > 1e-3
    label = decoded(z, (LABEL + 1) % 3)
    assert np.abs(label - x).max((0, 2, 3, 4)).min() > 1e-3


def test_a_generator_may_end_in_a_convolution_at_full_extents():
    """It makes the same shapes, odd ones too, and its last layer is 3x3 where the paper's has a stride."""
    for finish, kernel in (("transposed", (4, 4)), ("convolution", (3, 3))):
        generator = networks(finish=finish)["generator"]
        params = jax.eval_shape(generator.init, KEY, latents(), LABEL)["params"]
        last = [layer["kernel"].shape for name, layer in params.items() if "Conv" in name]
        assert [shape[:2] for shape in last] == [kernel]
        assert last[0][-1] == SPEC.channels
        made = jax.eval_shape(lambda g=generator: g.init_with_output(KEY, latents(), LABEL)[0])
        assert made.shape == (ROWS, *SPEC.shape)


def test_each_frame_may_have_a_content_of_its_own():
    z, contents = latents(), jax.random.normal(jax.random.key(9), (ROWS, 4, SMALL["content"]))
    x = decoded({**z, "content": contents})
    for t in range(4):
        np.testing.assert_allclose(x[:, t], decoded({**z, "content": contents[:, t]})[:, t], atol=1e-5)


def test_clips_may_be_longer_than_the_data():
    """By the ability; what the first frames show does not depend on how many follow."""
    plan = build_plan(experiment(), SPEC)
    weights = Weights(*jax.jit(plan.method.init)(KEY))
    z = plan.method.abilities["longer"](weights, KEY, ROWS, LABEL, TYPICAL, 7)
    assert jax.tree.map(jnp.shape, z) == {"content": (ROWS, 3), "motion": (ROWS, 7, 2)}
    decode = jax.jit(plan.method.decode)
    x = decode(weights, z, LABEL, None)
    assert x.shape == (ROWS, 7, *SPEC.shape[1:])
    start = decode(weights, {**z, "motion": z["motion"][:, :4]}, LABEL, None)
    np.testing.assert_allclose(x[:, :4], start, atol=1e-6)
    drawn = plan.method.draw(weights, KEY, ROWS, LABEL, TYPICAL)
    assert jax.tree.map(jnp.shape, drawn) == {"content": (ROWS, 3), "motion": (ROWS, 4, 2)}
    np.testing.assert_array_equal(z["content"], drawn["content"])
    np.testing.assert_array_equal(z["motion"][:, :4], drawn["motion"])
    assert len(np.unique(z["motion"])) == z["motion"].size, "what follows is drawn anew"
    shorter = plan.method.abilities["longer"](weights, KEY, ROWS, LABEL, TYPICAL, 3)
    np.testing.assert_array_equal(shorter["motion"], drawn["motion"][:, :3])


def test_one_judge_sees_frames_of_the_clips_and_the_other_all_of_them():
    x = jnp.arange(ROWS * 5.0).reshape(ROWS, 5, 1, 1, 1)
    look = jax.jit(video_gan.a_frame)
    seen = np.stack([look(x, jax.random.key(i))[:, 0, 0, 0] for i in range(20)])
    assert (seen // 5 == np.arange(ROWS)).all()  # each of its own clip
    assert set(np.unique(seen % 5)) == set(range(5))
    plan = build_plan(experiment(), SPEC)
    params = plan.state_shapes().params
    assert [params[judge]["Conv_0"]["kernel"].shape for judge in ("frames", "clips")] == [(4, 4, 3, 4), (4, 4, 4, 3, 4)]


def test_a_judge_of_several_frames_says_the_mean_of_what_it_says_of_each():
    x = jnp.arange(ROWS * 5.0).reshape(ROWS, 5, 1, 1, 1)
    look = jax.jit(video_gan.some_frames, static_argnames="count")
    seen = np.stack([look(x, jax.random.key(i), count=3)[..., 0, 0, 0] for i in range(20)])
    assert (seen // 5 == np.arange(ROWS)[:, None]).all()
    assert {len(set(row)) for row in seen.reshape(-1, 3)} == {3}, "no frame twice"
    assert set(np.unique(seen % 5)) == set(range(5))

    one = networks()["frames"]
    several = video_gan.EachFrame(one)
    clips = jax.random.normal(KEY, (ROWS, *SPEC.shape))
    weights = jax.jit(several.init)(KEY, clips, LABEL)
    inner = {"params": weights["params"]["judge"]}
    apply = jax.jit(one.apply)
    for name, found in jax.jit(several.apply)(weights, clips, LABEL).items():
        of_each = np.mean([apply(inner, clips[:, t], LABEL)[name] for t in range(SPEC.shape[0])], 0)
        np.testing.assert_allclose(found, of_each, atol=1e-5)


def test_as_many_frames_may_be_judged_as_a_clip_has():
    plan = build_plan(experiment(frames_judged=4), SPEC)
    assert plan.state_shapes().params["frames"]["judge"]["Conv_0"]["kernel"].shape == (4, 4, 3, 4)
    for wrong in (0, 5):
        with pytest.raises(UsageError, match=f"--objective.frames-judged must be 1 to 4, got {wrong}"):
            build_plan(experiment(frames_judged=wrong), SPEC)


@pytest.mark.parametrize("frames_judged", [1, 2])
def test_the_judge_of_frames_computes_in_its_precision(frames_judged):
    narrow = dataclasses.replace(experiment(frames_judged=frames_judged), precision=("frames=bfloat16",))
    for asked, expected in ((narrow, True), (experiment(frames_judged=frames_judged), False)):
        plan = build_plan(asked, SPEC)
        judge, shapes = plan.method.players[0].loss.args[0], plan.state_shapes()
        x = jax.ShapeDtypeStruct((ROWS, *((2,) if frames_judged > 1 else ()), *SPEC.shape[1:]), jnp.float32)
        inside = jax.make_jaxpr(judge.network.apply)({"params": shapes.params["frames"]}, x, LABEL)
        assert ("bf16" in str(inside)) == expected


def test_rules_hold_for_both_judges_but_penalties_for_the_one_of_clips():
    penalties = {"r1": 1.0, "r2": 2.0}
    plan = build_plan(experiment(loss="relativistic", penalties=penalties, frame_penalties={"r1": 3.0}), SPEC)
    frames, clips, generator = plan.method.players
    assert (frames.name, clips.name, generator.name) == ("frames", "clips", "generator")
    rules = [player.loss.args[0].rules for player in (frames, clips)]
    assert {rule.loss for rule in rules} == {"relativistic"}
    assert [{name: w for name, w in rule.penalties.items() if w} for rule in rules] == [{"r1": 3.0}, penalties]


def test_other_networks_and_other_data_are_refused():
    with pytest.raises(UsageError, match="needs judges of frames and of clips"):
        video_gan.build(dcgan.build(SPEC), SPEC, {})
    for model in (mocogan, video_dcgan):
        with pytest.raises(UsageError, match=r"makes clips \(frames, height, width, channels\), not \(8, 8, 1\)"):
            model.build(ArraySpec((8, 8, 1)))


@pytest.mark.parametrize("player", ["generator", "clips"])
def test_computing_levels_again_changes_nothing(player):
    spec = ArraySpec((4, 16, 16, 1), kind="clip", classes=SPEC.classes)
    kept, again = (mocogan.build(spec, **SMALL, remat=remat)[player] for remat in (False, True))
    x = (
        kept.draw(jax.random.normal, KEY, ROWS)
        if player == "generator"
        else jax.random.normal(KEY, (ROWS, *spec.shape))
    )
    first = jax.jit(kept.init)(KEY, x, LABEL)
    assert jax.tree.structure(jax.eval_shape(again.init, KEY, x, LABEL)) == jax.tree.structure(first)

    def slopes(network):
        extras = {name: value for name, value in first.items() if name != "params"}

        def loss(params):
            out, after = network.apply({"params": params, **extras}, x, LABEL, train=True, mutable=list(extras))
            return jnp.sum(jnp.sin(out if player == "generator" else out["logits"])), after

        return jax.jit(jax.grad(loss, has_aux=True))(first["params"])

    for one, other in zip(*(jax.tree.leaves(slopes(network)) for network in (kept, again)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_background_stands_still_where_the_mask_lets_it_through():
    generator = video_dcgan.build(SPEC, latents=3, width=4, generator_norm="none")["generator"]
    z = jax.random.normal(KEY, (2, 3))
    params = jax.jit(generator.init)(KEY, z)["params"]
    last = params["foreground"]["Conv_0"]["bias"]

    def made(mask):  # the last channel's bias, before the logistic function
        own = {**params["foreground"]["Conv_0"], "bias": last.at[-1].set(mask)}
        changed = {**params, "foreground": {**params["foreground"], "Conv_0": own}}
        return jax.jit(generator.apply)({"params": changed}, z)

    still, moving = made(-50.0), made(50.0)
    np.testing.assert_array_equal(still, jnp.broadcast_to(still[:, :1], still.shape))
    assert np.abs(moving - moving[:, :1]).max() > 1e-3
    assert np.abs(made(0.0)).max() <= 1
