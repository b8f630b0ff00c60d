"""Games with several judges: still frames and whole clips, each by its own rules; latents of several parts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import noise_batch

from genjax_art.errors import UsageError
from genjax_art.models.layers import Conv, one_hot
from genjax_art.objectives import gan
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.memory import memory_entry
from genjax_art.objectives.method import Weights
from genjax_art.objectives.regularisers import beside
from genjax_art.objectives.rounds import D, G, Update
from genjax_art.objectives.rules import Rules
from genjax_art.shards import global_draw, global_normal
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.state import create_state
from genjax_art.train.step import batches_per_step, make_step

SPEC = ArraySpec((4, 6, 6, 1), kind="clip", classes=("a", "b"))
FRAMES = "frames"
SGD = {name: optax.sgd(0.05) for name in (D, FRAMES, "twin", G)}
KEY = jax.random.key(0)
BATCH = jax.tree.map(jnp.asarray, noise_batch(SPEC, 8))


class Generator(nn.Module):
    latents: int = 3
    classes: int = 2

    @nn.compact
    def __call__(self, z, label=None, train=True):
        z = z if label is None else jnp.concatenate([z, one_hot(label, self.classes)], -1)
        return jnp.tanh(nn.Dense(4 * 6 * 6)(z)).reshape(-1, *SPEC.shape)


class Discriminator(nn.Module):
    """One convolution, of the rank of what it is given; labels by projection."""

    @nn.compact
    def __call__(self, x, label=None, train=True):
        h = nn.leaky_relu(Conv(4, stride=2)(x), 0.2).reshape(len(x), -1)
        logits = nn.Dense(1)(h)[:, 0]
        if label is not None:
            logits = logits + jnp.sum(h * nn.Dense(h.shape[-1], name="of_label")(one_hot(label, 2)), -1)
        return {"logits": logits, "features": h}


def random_frame(x, key):
    """One frame of each clip."""
    at = global_draw(jax.random.randint, key, (len(x),), 0, x.shape[1])
    return jnp.take_along_axis(x, at.reshape(-1, 1, 1, 1, 1), 1)[:, 0]


OF_FRAMES = Rules(
    penalties={"r1": (0.2, 0.1), "lecam": 0.3},
    augmentations=("translation",),
    augmentation_policy="adaptive",
    burn_in=2,
)
OF_CLIPS = Rules(loss="relativistic", penalties={"lecam": 0.3}, discriminator_repeats=2, top_k=0.5)


def frames(rules=OF_FRAMES, **options):
    return Judge(Discriminator(), rules, FRAMES, random_frame, **options)


def clips(rules=OF_CLIPS, **options):
    return Judge(Discriminator(), rules, **options)


def play(*judges, generator=None, **options):
    method = gan.play_judges(generator or Generator(), judges, SPEC, SGD, **options)
    return method, *jax.jit(method.init)(KEY)


def loss_of(played, name, batch=BATCH):
    """Loss, metrics, new extras and gradient of one player."""
    player, arguments = to_move(played, name, batch)
    (value, (metrics, after)), slope = jax.jit(jax.value_and_grad(player.loss, has_aux=True))(*arguments)
    return float(value), metrics, after, slope


def to_move(played, name, batch=BATCH):
    """A player, and the arguments of its loss."""
    method, params, extras = played
    (player,) = (player for player in method.players if player.name == name)
    others = {other: value for other, value in params.items() if other != name}
    return player, (params[name], others, extras, batch, KEY)


@pytest.mark.thorough
@pytest.mark.parametrize("classes", [2, 0])
def test_judges_of_frames_and_of_clips_train_alike_on_one_device_and_on_eight(classes):
    method, params, extras = play(frames(), clips(), generator=Generator(classes=classes))
    assert [player.name for player in method.players] == [FRAMES, D, G]
    start = jax.device_get(create_state(method.players, params, extras))
    found = {}
    for how in ("jit", "pmap") if classes else ("jit",):
        compiled = compile_step(make_step(method.players), how)
        state = compiled.put_state(start)
        for seed in range(2):
            batch = noise_batch(SPEC, 16 * batches_per_step(method.players), seed)
            state, metrics = compiled.step(state, compiled.put_batch(batch))
        found[how] = jax.device_get((state, metrics))
    state, metrics = found["jit"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
    for name in (FRAMES, D, G):
        pairs = zip(jax.tree.leaves(start.params[name]), jax.tree.leaves(state.params[name]), strict=True)
        assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4
    assert {"frames/r1", "frames/lecam", "discriminator/lecam", "generator/fake_probability"} <= metrics.keys()
    assert "generator/frames_fake_probability" in metrics and "discriminator/r1" not in metrics
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found["jit"]), jax.tree.leaves(found.get("pmap", found["jit"])), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=jax.tree_util.keystr(path))


def test_one_judge_is_the_gan():
    rules = Rules(loss="hinge", penalties={"r1": 0.1, "bcr": 1.0}, augmentations=("cutout",), top_k=0.5)
    networks = {G: Generator(), D: Discriminator()}
    plain = gan.build(networks, SPEC, SGD, rules=rules)
    for name in (D, G):
        found = loss_of(play(clips(rules)), name), loss_of((plain, *jax.jit(plain.init)(KEY)), name)
        jax.tree.map(np.testing.assert_array_equal, *found)


def test_the_generators_loss_is_the_weighted_sum_over_its_judges():
    def term(round):
        return 3.0 + jnp.mean(round.of_fake["features"], -1), {"note": jnp.mean(round.fake)}

    plain = Rules(loss="hinge")
    alone, metrics, _, slope = loss_of(play(clips(plain)), G)
    assert "note" not in metrics
    by_weight = {}
    for weight in (0.0, 1.0, 2.0):
        played = play(clips(plain), frames(plain, weight=weight, generator_terms=(term,)))
        by_weight[weight], metrics, _, steep = loss_of(played, G)
        assert ("frames_note" in metrics) == bool(weight)
        if not weight:
            jax.tree.map(np.testing.assert_array_equal, slope, steep)
    assert by_weight[0.0] == alone
    assert by_weight[1.0] - alone > 1.0
    assert by_weight[2.0] - alone == pytest.approx(2 * (by_weight[1.0] - alone), rel=1e-5)


def test_memories_are_kept_apart():
    assert (memory_entry(D), memory_entry(FRAMES)) == ("memory", "frames memory")
    played = play(frames(), clips())
    extras = played[2]
    averages = {"average_real", "average_fake"}
    assert extras["frames memory"].keys() == averages | {"updates", "rounds", "probability", "signs"}
    assert extras["memory"].keys() == averages
    for name, entry, other in ((FRAMES, "frames memory", "memory"), (D, "memory", "frames memory")):
        _, _, after, _ = loss_of(played, name)
        assert after.keys() == extras.keys()
        assert float(after[entry]["average_real"]) != 0
        jax.tree.map(np.testing.assert_array_equal, after[other], extras[other])
    jax.tree.map(np.testing.assert_array_equal, loss_of(played, G)[2], extras)


def test_judges_see_the_same_fakes_and_draw_on_their_own():
    """Two that differ in nothing but their names have the same loss until something is drawn for them."""

    def losses(rules, view=None):
        views = {} if view is None else {"view": view}
        twins = [Judge(Discriminator(), rules, name, **views) for name in (D, "twin")]
        method, params, extras = play(*twins)
        played = method, {**params, "twin": params[D]}, extras
        assert len({player.stream for player in method.players}) == 1
        moves = (to_move(played, name) for name in (D, "twin"))
        return [float(jax.jit(player.loss)(*arguments)[0]) for player, arguments in moves]

    for rules, view in (
        (Rules(augmentations=("cutout",)), None),
        (Rules(penalties={"wgan_gp": 1.0}), None),
        (Rules(), random_frame),
    ):
        one, other = losses(rules, view)
        assert one != other
    one, other = losses(Rules(penalties={"r1": 1.0, "zcr": 1.0}))
    assert one == other


class Total(nn.Module):
    """The logit is w times the sum of x."""

    @nn.compact
    def __call__(self, x, label=None, train=True):
        w = self.param("w", nn.initializers.constant(0.3), ())
        return {"logits": w * jnp.sum(x, (1, 2, 3)), "features": x.reshape(len(x), -1)}


def test_slopes_are_in_what_the_view_gives():
    def brighter(x, key):
        del key
        return 3.0 * x[:, 0]

    judge = Judge(Total(), Rules(loss="wasserstein", penalties={"r1": 1.0}), view=brighter)
    loss, metrics, _, _ = loss_of(play(judge), D)
    assert float(metrics["r1"]) == pytest.approx(36 * 0.3**2, rel=1e-5)  # by the slope in x it would be 9 times that
    method, params, _ = play(judge)
    z = global_normal(gan.fold(KEY, "latents"), (8, 3))
    made = method.decode(Weights(params, {G: {}}), z, BATCH["label"], None)
    totals = [0.3 * 3 * float(jnp.sum(x[:, 0])) / 8 for x in (BATCH["x"], made)]
    assert loss == pytest.approx(totals[1] - totals[0] + 36 * 0.3**2, rel=1e-4)


# Latents of several parts.


class Parts(Generator):
    """From a still content, a motion per frame, and one of three codes."""

    @nn.compact
    def __call__(self, z, label=None, train=True):
        h = jnp.concatenate([z["content"], z["motion"].reshape(len(z["content"]), -1), one_hot(z["code"], 3)], -1)
        return jnp.tanh(nn.Dense(4 * 6 * 6)(h)).reshape(-1, *SPEC.shape)


def draw(normal, key, n):
    keys = jax.random.split(key, 3)
    return {
        "content": normal(keys[0], (n, 2)),
        "motion": normal(keys[1], (n, 4, 1)),
        "code": jnp.argmax(normal(keys[2], (n, 3)), -1),
    }


@pytest.mark.thorough
def test_latents_may_be_a_tree():
    rules = Rules(penalties={"zcr": 1.0}, generator_penalties={"zcr": 0.1})
    seen = []

    def term(round):
        seen.append(jax.tree.map(jnp.shape, round.z))
        return jnp.zeros(8), {}

    played = play(clips(rules, terms=(term,)), frames(), generator=Parts(classes=0), draw=draw)
    for name in (D, FRAMES, G):
        value, metrics, _, slope = loss_of(played, name)
        assert np.isfinite(value) and max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope)) > 0
        assert name == FRAMES or float(metrics["zcr"]) != 0
    assert seen == [{"content": (8, 2), "motion": (8, 4, 1), "code": (8,)}]


def test_latents_beside_others_differ_in_every_leaf_of_real_numbers():
    z = {**draw(jax.random.normal, KEY, 64), "narrow": jnp.ones((64, 2), jnp.bfloat16), "twin": jnp.zeros((64, 2))}
    x, given = jnp.zeros((64, 1)), []

    def make(z):
        given.append(z)
        return x

    beside(Update(own={}, batch={"x": x}, label=None, z=z, made=x, make=make, key=KEY))
    (near,) = given
    moved = {name: np.asarray(near[name] - z[name], np.float32) for name in z}
    assert {name: leaf.dtype for name, leaf in near.items()} == {name: leaf.dtype for name, leaf in z.items()}
    assert not moved["code"].any()
    for name in ("content", "motion", "narrow"):
        assert moved[name].std() == pytest.approx(0.05, rel=0.3)
    assert np.abs(moved["content"] - moved["twin"]).min() > 0


# What is refused.


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ((), "distinct names other than 'generator', at least one; got: none"),
        ((clips(), clips()), "got: discriminator, discriminator"),
        ((Judge(Discriminator(), name=G),), "got: generator"),
        ((clips(), frames(Rules(lazy=0))), "--objective.lazy must be at least 1"),
        ((clips(), frames(Rules(generator_penalties={"zcr": 1.0}))), "give them to discriminator, not to frames"),
        ((clips(), frames(Rules(shared_latents=False))), "give them to discriminator, not to frames"),
        ((Judge(Discriminator(), Rules(penalties={"cr": 1.0}), view=lambda x, key: x[:, 0, 0, 0]),), "leave cr and"),
    ],
)
def test_judges_that_do_not_go_together_are_refused(judges, message):
    with pytest.raises(UsageError, match=message):
        play(*judges)
