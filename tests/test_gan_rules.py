"""What the rules add to the game: closed forms, gradients against differences, one device against eight."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import thorough
from small import noise_batch, small_networks
from test_objectives import BATCH, NETWORKS, REAL, SGD, loss_of

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.losses.selection import top_share
from genjax_art.objectives import gan
from genjax_art.objectives.game import descend
from genjax_art.objectives.memory import adapted, first_memory, remember
from genjax_art.objectives.regularisers import LATENT_NOISE, OF_DISCRIMINATOR, OF_GENERATOR
from genjax_art.objectives.rounds import MEMORY
from genjax_art.objectives.rules import Rules
from genjax_art.shards import DEVICE_AXIS
from genjax_art.spec import ArraySpec
from genjax_art.train.compile import compile_step
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

POINTS = ArraySpec((2,), -1.0, 1.0, "points", bounded=False)
SHAPES = {
    "image": ArraySpec((6, 6, 3)),
    "roll": ArraySpec((8, 12, 2), 0.0, 1.0, "roll"),
    "clip": ArraySpec((2, 4, 4, 1), kind="clip"),
}
KEY = jax.random.key(0)
# On each kind of array another part of the rules, all of which go together; not all at once, for the compiler's sake.
TOGETHER = {
    ("mlp", "image"): {
        "penalties": {"r1": (0.1, 0.05), "r2": 0.1, "lecam": 0.3, "bcr": 1.0, "orthogonal": 1e-2},
        "second_look": ("flip", "translation"),
        "lazy": 2,
        "augmentations": ("translation", "cutout"),
        "augmentation_policy": "adaptive",
        "packing": 2,
        "top_k": (1.0, 0.5),
        "burn_in": 4,
    },
    ("dcgan", "roll"): {
        "penalties": {"lecam": 0.3, "cr": 1.0},
        "generator_penalties": {"orthogonal": 1e-2},
        "augmentations": ("translation",),
        "augmentation_probability": (0.0, 0.9),
        "top_k": 0.5,
        "packing": 2,
        "burn_in": 2,
    },
    ("mlp", "clip"): {
        "penalties": {"zcr": 1.0, "wgan_gp": 0.1},
        "generator_penalties": {"zcr": 0.1},
        "unrolled_steps": 2,
        "packing": 2,
    },
}


def toy(**options):
    """G(z) = 2 + 0.1 z, D's logit 0.3 (sum of x) - 0.1, plane points."""
    method = gan.build(NETWORKS, POINTS, SGD, rules=Rules(**options))
    return method, *jax.jit(method.init)(KEY)


# Regularisers.


def test_lecam_uses_and_moves_the_averages_of_the_rounds_before():
    method, params, extras = toy(penalties={"lecam": 0.3})
    assert {name: float(value) for name, value in extras[MEMORY].items()} == {"average_real": 0, "average_fake": 0}
    extras = {**extras, MEMORY: {"average_real": jnp.float32(0.5), "average_fake": jnp.float32(-0.25)}}
    made = 2 + 0.1 * np.asarray(jax.random.normal(fold(KEY, "latents"), (16, 2)))
    real, fake = (0.3 * np.float64(x).sum(-1) - 0.1 for x in (REAL, made))
    expected = np.mean((real + 0.25) ** 2) + np.mean((fake - 0.5) ** 2)
    loss, metrics = loss_of(method, "discriminator", params, extras)
    plain, _ = loss_of(toy()[0], "discriminator", params, extras)
    assert metrics["lecam"] == pytest.approx(expected, rel=1e-5)
    assert loss - plain == pytest.approx(0.3 * expected, rel=1e-4)
    _, (_, after) = method.players[0].loss(params["discriminator"], params, extras, BATCH, KEY)
    found = [float(after[MEMORY][name]) for name in ("average_real", "average_fake")]
    np.testing.assert_allclose(found, [0.99 * 0.5 + 0.01 * real.mean(), -0.99 * 0.25 + 0.01 * fake.mean()], rtol=1e-5)
    _, (_, of_generator) = method.players[1].loss(params["generator"], params, extras, BATCH, KEY)
    assert of_generator[MEMORY] == extras[MEMORY]  # G leaves it


def test_zcr_is_that_of_a_linear_game():
    """G(z + dz) - G(z) = 0.1 dz, so D's logits differ by 0.03 (sum of dz)."""
    dz = LATENT_NOISE * np.asarray(jax.random.normal(fold(KEY, "beside"), (16, 2)), np.float64)
    method, params, extras = toy(penalties={"zcr": 1.0}, generator_penalties={"zcr": 2.0})
    _, metrics = loss_of(method, "discriminator", params, extras)
    assert metrics["zcr"] == pytest.approx(np.mean((0.03 * dz.sum(-1)) ** 2), rel=1e-3)
    loss, metrics = loss_of(method, "generator", params, extras)
    assert metrics["zcr"] == pytest.approx(-0.01 * np.mean(np.sum(dz**2, -1)), rel=1e-3)
    assert loss == pytest.approx(loss_of(toy()[0], "generator", params, extras)[0] + 2 * metrics["zcr"], rel=1e-5)


class Corner(gan.nn.Module):
    """The logit is a weighted sum of the picture, or what is at its centre."""

    centre: bool

    @gan.nn.compact
    def __call__(self, x, label=None, train=True):
        w = self.param("w", gan.nn.initializers.ones, ())
        return {"logits": w * (x[:, 8, 8, 0] if self.centre else jnp.sum(x, (1, 2, 3))), "features": x[:, 8, 8]}


class Still(gan.nn.Module):
    latents: int = 2
    classes: int = 0

    @gan.nn.compact
    def __call__(self, z, label=None, train=True):
        shift = self.param("shift", gan.nn.initializers.zeros, ())
        return shift + 3.0 * dot(len(z))


def dot(rows):
    """A bright pixel in the middle of nothing."""
    return jnp.zeros((rows, 16, 16, 1)).at[:, 8, 8].set(1.0)


@pytest.mark.parametrize(("name", "size"), [("cr", 1.0), ("bcr", 1.0 + 9.0)])
def test_consistency_is_what_a_shift_changes(name, size):
    """Nothing for the sum of a picture whose border is empty; for its centre its square, but for 1 shift in 25."""
    for centre in (False, True):
        networks = {"generator": Still(), "discriminator": Corner(centre)}
        method = gan.build(networks, ArraySpec((16, 16, 1)), SGD, rules=Rules(penalties={name: 1.0}))
        params, extras = jax.jit(method.init)(KEY)
        loss = jax.jit(method.players[0].loss)
        found = loss(params["discriminator"], params, extras, {"x": dot(512)}, KEY)[1][0][name]
        assert float(found) == pytest.approx(size * 24 / 25 if centre else 0.0, rel=0.05, abs=1e-6)


def test_consistency_looks_again_through_the_augmentations_that_the_rules_name():
    """A pixel right of the middle, mirrored in half of the pictures: D's verdict there falls from 1 to 0."""
    networks = {"generator": Still(), "discriminator": Corner(True)}
    rules = Rules(penalties={"cr": 1.0}, second_look=("flip",))
    method = gan.build(networks, ArraySpec((16, 16, 1)), SGD, rules=rules)
    params, extras = jax.jit(method.init)(KEY)
    found = jax.jit(method.players[0].loss)(params["discriminator"], params, extras, {"x": dot(512)}, KEY)
    assert float(found[1][0]["cr"]) == pytest.approx(0.5, rel=0.15)


def test_orthogonal_looks_at_its_own_player():
    spec = ArraySpec((4, 4, 1))
    networks = small_networks("mlp", spec)
    rules = {"penalties": {"orthogonal": 1.0}, "generator_penalties": {"orthogonal": 1.0}}
    method = gan.build(networks, spec, SGD, rules=Rules(**rules))
    params, extras = jax.jit(method.init)(KEY)
    for player in method.players:
        batch = {"x": jnp.asarray(noise_batch(spec, 4)["x"])}
        _, (metrics, _) = jax.jit(player.loss)(params[player.name], params, extras, batch, KEY)
        kernels = [leaf for leaf in jax.tree.leaves(params[player.name]) if leaf.ndim == 2]
        grams = [np.float64(w).T @ np.float64(w) for w in kernels]
        expected = sum(np.sum((gram - np.diag(np.diag(gram))) ** 2) for gram in grams)
        assert float(metrics["orthogonal"]) == pytest.approx(expected, rel=1e-4)


def test_lazy_penalties_are_paid_for_at_every_other_update():
    """Twice the penalty at updates 0 and 2, nothing at 1; the same over time, in loss and gradient."""
    lazy, params, extras = toy(penalties={"r1": 1.0, "r2": 1.0}, lazy=2)
    eager = toy(penalties={"r1": 1.0, "r2": 1.0})[0]

    def at(method, updates):
        memory = {MEMORY: {"updates": jnp.int32(updates)}} if method is lazy else {}
        loss = jax.value_and_grad(lambda w: method.players[0].loss(w, params, {**extras, **memory}, BATCH, KEY)[0])
        value, slope = loss(params["discriminator"])
        return np.array([float(value), float(slope["w"])])

    plain = at(toy()[0], 0)
    penalty = at(eager, 0) - plain
    np.testing.assert_allclose(penalty, [4 * 0.3**2, 8 * 0.3], rtol=1e-4)  # the slope is w in both coordinates
    for updates, times in ((0, 2), (1, 0), (2, 2)):
        np.testing.assert_allclose(at(lazy, updates) - plain, times * penalty, rtol=1e-4, atol=1e-6)


def test_every_regulariser_has_the_gradient_of_its_differences_and_is_finite_at_extremes():
    """All at once: the loss of each player along a random direction; and with weights of 1e4 and 0."""
    with jax.enable_x64(True):
        spec = ArraySpec((8, 6, 1))
        networks = small_networks("mlp", spec)
        rules = {
            "loss": "relativistic",
            "penalties": dict.fromkeys(OF_DISCRIMINATOR, 0.1),
            "generator_penalties": dict.fromkeys(OF_GENERATOR, 0.1),
        }
        batch = {"x": jnp.asarray(noise_batch(spec, 4)["x"], float)}

        def loss_along(method, which):
            with jax.enable_x64(False):
                first = jax.jit(method.init)(KEY)
            params, extras = jax.tree.map(lambda leaf: leaf.astype(float), first)
            player = method.players[which]
            others = {name: value for name, value in params.items() if name != player.name}
            own, unflatten = jax.flatten_util.ravel_pytree(params[player.name])
            direction = jax.random.normal(jax.random.key(1), own.shape)

            def loss(t, scale):
                return player.loss(unflatten(scale * (own + t * direction)), others, extras, batch, KEY)[0]

            return jax.jit(lambda t, scale: jax.value_and_grad(loss)(t, scale))

        ahead = gan.build(networks, spec, SGD, rules=Rules(**rules, unrolled_steps=2, unrolled_rate=0.1))
        here = gan.build(networks, spec, SGD, rules=Rules(**rules))
        for method, which in ((here, 0), (ahead, 1)):
            found, h = loss_along(method, which), 1e-6
            numeric = (found(h, 1.0)[0] - found(-h, 1.0)[0]) / (2 * h)
            assert abs(numeric) > 1e-3
            assert float(found(0.0, 1.0)[1]) == pytest.approx(float(numeric), rel=1e-5)
        for which in (0, 1):
            found = loss_along(here, which)
            assert all(np.isfinite(found(0.0, scale)).all() for scale in (0.0, 1e3))


# Training options.


def test_descent_through_a_quadratic_bowl():
    """k steps on a p^2 / 2 leave p (1 - rate a)^k, and that is differentiable in a."""

    def after(a):
        return descend(lambda params: 0.5 * a * params["p"] ** 2, {"p": jnp.float32(3.0)}, 4, 0.1)["p"]

    assert float(after(2.0)) == pytest.approx(3 * 0.8**4, rel=1e-5)
    assert float(jax.grad(after)(2.0)) == pytest.approx(3 * 4 * 0.8**3 * -0.1, rel=1e-4)


def test_the_generator_plays_against_the_unrolled_discriminator():
    """In the Wasserstein game D's w moves by rate times the difference of mean sums at each step; G sees its part."""
    method, params, extras = toy(loss="wasserstein", unrolled_steps=3, unrolled_rate=0.1)
    noise = np.asarray(jax.random.normal(fold(KEY, "latents"), (16, 2)), np.float64)

    def by_hand(shift):
        made = shift + 0.1 * noise
        w = 0.3 + 3 * 0.1 * (np.mean(REAL.sum(-1)) - np.mean(made.sum(-1)))
        return -(w * np.mean(made.sum(-1)) - 0.1)  # the bias cancels in D's loss

    def loss(shift):
        return method.players[1].loss({"shift": jnp.full((1, 2), shift)}, params, extras, BATCH, KEY)[0]

    assert float(loss(2.0)) == pytest.approx(by_hand(2.0), rel=1e-4)
    assert float(jax.grad(loss)(2.0)) == pytest.approx((by_hand(2.001) - by_hand(1.999)) / 0.002, rel=1e-3)


def test_top_share_counts_the_best_of_the_global_batch():
    logits = jnp.asarray([0.5, -1e30, 3.0, 2.0, 1e30, -2.0, 0.0, 1.0])
    np.testing.assert_allclose(top_share(logits, 0.5), [0, 0, 2, 2, 2, 0, 0, 2])
    np.testing.assert_allclose(top_share(logits, 1.0), np.ones(8))
    np.testing.assert_allclose(top_share(logits, 0.0), [0, 0, 0, 0, 8, 0, 0, 0])  # one at least
    np.testing.assert_allclose(top_share(logits, jnp.float32(0.3)), np.float32(logits >= 2.0) * 8 / 3, rtol=1e-6)
    np.testing.assert_allclose(top_share(jnp.zeros(4), 0.5), np.ones(4))  # all tie
    shares = jax.pmap(lambda x: top_share(x, 0.5), DEVICE_AXIS)(logits[:, None])
    np.testing.assert_allclose(shares[:, 0], top_share(logits, 0.5))
    np.testing.assert_array_equal(jax.grad(lambda x: top_share(x, 0.5) @ jnp.arange(8.0))(logits), np.zeros(8))


def test_the_generator_learns_from_the_top_share_only():
    method, params, extras = toy(loss="wasserstein", top_k=0.25)
    made = 2 + 0.1 * np.asarray(jax.random.normal(fold(KEY, "latents"), (16, 2)), np.float64)
    logits = np.sort(0.3 * made.sum(-1) - 0.1)
    assert loss_of(method, "generator", params, extras)[0] == pytest.approx(-np.mean(logits[-4:]), rel=1e-5)


def test_the_adaptive_probability_moves_every_fourth_update_towards_its_target():
    memory = first_memory(counting=False, averaging=False, adaptive=True)
    sure, unsure = jnp.asarray([2.0, 1e30, 3.0, 1.0]), jnp.asarray([2.0, -1.0, 3.0, 1.0])  # r = 1, 0.5
    seen = []
    for logits in [sure] * 8 + [unsure] * 4 + [unsure, unsure, sure, unsure]:  # the last four have r = 0.625
        memory = adapted(memory, logits, images=1000)
        seen.append(float(memory["probability"]))
    quantum = 4 * 1000 / 500_000
    expected = [0] * 3 + [quantum] * 4 + [2 * quantum] * 4 + [quantum] * 4 + [2 * quantum]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_memory_is_the_same_on_eight_devices():
    memory = first_memory(counting=True, averaging=True, adaptive=True)
    memory |= {"rounds": jnp.int32(3), "signs": jnp.float32(3.0)}
    real, fake = jax.random.normal(KEY, (2, 16)) + 1.0
    one = remember(memory, {"logits": real}, {"logits": fake}, 16)

    def of_share(real, fake):
        return remember(memory, {"logits": real}, {"logits": fake}, 2)

    eight = jax.pmap(of_share, DEVICE_AXIS, out_axes=None)(real.reshape(8, 2), fake.reshape(8, 2))
    assert jax.tree.map(float, one) == pytest.approx(jax.tree.map(float, eight), rel=1e-5)
    assert int(one["updates"]) == 1 and int(one["rounds"]) == 0 and float(one["probability"]) > 0


def test_augmentations_are_seen_with_the_adaptive_probability():
    spec = SHAPES["image"]
    rules = {"augmentations": ("cutout",), "augmentation_policy": "adaptive", "augmentation_probability": 0.5}
    adaptive = gan.build(small_networks("mlp", spec), spec, SGD, rules=Rules(**rules))
    given = {
        p: gan.build(
            small_networks("mlp", spec), spec, SGD, rules=Rules(augmentations=("cutout",), augmentation_probability=p)
        )
        for p in (0.0, 0.3, 0.5)
    }
    params, extras = jax.jit(adaptive.init)(KEY)
    batch = {"x": jnp.asarray(noise_batch(spec, 16)["x"])}

    def loss(method, p=None):
        memory = {} if p is None else {MEMORY: {**extras[MEMORY], "probability": jnp.float32(p)}}
        return method.players[0].loss(params["discriminator"], params, {**extras, **memory}, batch, KEY)[0]

    @jax.jit
    def losses():
        by_state = {p: loss(adaptive, p) for p in (0.0, 0.3, 0.9)}
        return by_state, {p: loss(method) for p, method in given.items()}

    by_state, fixed = jax.tree.map(float, losses())
    assert by_state == pytest.approx({0.0: fixed[0.0], 0.3: fixed[0.3], 0.9: fixed[0.5]}, rel=1e-6)
    assert len(set(fixed.values())) == 3


def test_a_pair_of_values_goes_from_the_first_to_the_second():
    """The weight of R1 in each player's step, where D is updated twice a step."""
    method, params, extras = toy(penalties={"r1": (1.0, 0.2)}, burn_in=4, discriminator_repeats=2)
    plain = toy()[0]
    for updates in range(12):
        extras = {**extras, MEMORY: {"updates": jnp.int32(updates)}}
        paid, metrics = loss_of(method, "discriminator", params, extras)
        weight = (paid - loss_of(plain, "discriminator", params, extras)[0]) / metrics["r1"]
        share = min(updates // 2 / 4, 1)
        assert weight == pytest.approx(0.2 + 0.8 * (1 + np.cos(np.pi * share)) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "kind"), [("mlp", "image"), *thorough(*(pair for pair in TOGETHER if pair != ("mlp", "image")))]
)
def test_rules_together_step_alike_on_one_device_and_on_eight(model, kind):
    spec = SHAPES[kind]
    networks = small_networks(model, spec, minibatch_deviation=2, width=4)
    transforms = {name: optax.sgd(0.01) for name in ("discriminator", "generator")}
    method = gan.build(networks, spec, transforms, rules=Rules(**TOGETHER[model, kind], loss="relativistic_average"))
    found = {}
    for how in ("jit", "pmap"):
        compiled = compile_step(make_step(method.players), how)
        state = compiled.put_state(create_state(method.players, *jax.jit(method.init)(KEY)))
        for n in range(2):
            state, metrics = compiled.step(state, compiled.put_batch(noise_batch(spec, 32, seed=n)))
        found[how] = jax.device_get((state, metrics))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found["jit"]))
    leaves = jax.tree_util.tree_leaves_with_path(found["jit"])
    for (path, a), b in zip(leaves, jax.tree.leaves(found["pmap"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5, err_msg=jax.tree_util.keystr(path))
    asked = {f"discriminator/{name}" for name in TOGETHER[model, kind]["penalties"]}
    assert asked <= found["jit"][1].keys()


def test_rules_that_make_no_sense_are_refused_in_one_line():
    for options, message in (
        ({"penalties": {"gp": 1.0}}, "unknown penalty 'gp'; known: bcr, cr"),
        ({"generator_penalties": {"r1": 1.0}}, "unknown penalty of the generator 'r1'; known: orthogonal, zcr"),
        ({"augmentations": ("rotation",)}, "unknown augmentation 'rotation'"),
        ({"second_look": ("mirror",)}, "unknown augmentation 'mirror'; known: color, cutout, flip, translation"),
        ({"augmentation_policy": "adaptive"}, "name --objective.augmentations"),
        ({"lazy": 0}, "--objective.lazy must be at least 1"),
        ({"discriminator_repeats": 0}, "--objective.discriminator-repeats must be at least 1, got 0"),
        ({"top_k": (1.0, 7.0)}, "--objective.top-k must be 0 to 1, got 1.0 7.0"),
        ({"augmentation_probability": 3.0}, "--objective.augmentation-probability must be 0 to 1"),
        ({"unrolled_rate": -1.0}, "--objective.unrolled-rate must be at least 0"),
        ({"penalties": {"cr": 1.0}}, "leave cr and bcr out"),
        ({"augmentations": ("color", "flip")}, "and there are 2: leave it out, --objective.augmentations flip"),
    ):
        with pytest.raises(UsageError, match=message):
            toy(**options)
