"""Learning rates against closed forms, every optimizer against its own first step, clipping, half-lives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_art.build import build_transform
from genjax_art.config import Component, Optimizer
from genjax_art.errors import UsageError
from genjax_art.train.optim import OPTIMIZERS, SCHEDULES, clipped, half_life

PEAK, STEPS = 0.1, 100


def rate(name, step, **options):
    with jax.numpy_dtype_promotion("standard"):  # as `make_step` does
        return float(SCHEDULES[name](PEAK, STEPS, **options)(jnp.int32(step)))


def cosine(t, steps, final=0.0):
    """SGDR, equation 5."""
    return PEAK * (final + (1 - final) * (1 + math.cos(math.pi * t / steps)) / 2)


@pytest.mark.parametrize(
    ("name", "options", "expected"),  # step -> learning rate
    [
        ("burn_in", {"over": 40}, {0: PEAK, 10: cosine(10, 40, 0.25), 40: PEAK / 4, 100: PEAK / 4, 10**9: PEAK / 4}),
        ("burn_in", {"over": 40, "final": 2.0, "warmup_steps": 20}, {10: PEAK / 2, 20: PEAK, 60: 2 * PEAK}),
        ("constant", {}, {0: PEAK, 50: PEAK, 100: PEAK}),
        ("constant", {"warmup_steps": 10}, {0: 0, 5: PEAK / 2, 10: PEAK, 100: PEAK}),
        ("cosine", {}, {0: PEAK, 25: cosine(25, 100), 50: PEAK / 2, 100: 0}),
        ("cosine", {"final": 0.2}, {0: PEAK, 50: cosine(50, 100, 0.2), 100: 0.2 * PEAK}),
        ("cosine", {"warmup_steps": 20}, {0: 0, 10: PEAK / 2, 20: PEAK, 60: PEAK / 2, 80: cosine(60, 80), 100: 0}),
        ("linear", {}, {0: PEAK, 50: PEAK / 2, 75: PEAK / 4, 100: 0}),
        ("linear", {"start": 0.5}, {0: PEAK, 50: PEAK, 75: PEAK / 2, 100: 0}),
        ("linear", {"start": 0.5, "final": 0.5}, {50: PEAK, 75: 0.75 * PEAK, 100: PEAK / 2, 120: PEAK / 2}),
        ("linear", {"warmup_steps": 20}, {0: 0, 10: PEAK / 2, 20: PEAK, 60: PEAK / 2, 100: 0}),
        ("linear", {"warmup_steps": 20, "start": 0.6}, {10: PEAK / 2, 20: PEAK, 60: PEAK, 80: PEAK / 2, 100: 0}),
    ],
)
def test_learning_rates(name, options, expected):
    assert {step: rate(name, step, **options) for step in expected} == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_warms_up_to_its_peak_and_stays_within(name):
    assert [rate(name, step, warmup_steps=8) for step in (0, 4, 8)] == pytest.approx([0, PEAK / 2, PEAK], abs=1e-7)
    rates = [rate(name, step) for step in range(0, STEPS + 1, 10)]
    assert max(rates) == rates[0] == pytest.approx(PEAK) and min(rates) >= -1e-7


def first_updates(transform, gradients):
    params = jnp.asarray([1.0, -2.0])
    state, updates = transform.init(params), []
    with jax.numpy_dtype_promotion("standard"):  # as `make_step` does
        for gradient in gradients:
            update, state = transform.update(jnp.asarray(gradient), state, params)
            updates.append(np.asarray(update))
    return updates


G = np.array([0.5, -4.0], np.float32)


@pytest.mark.parametrize(
    ("name", "options", "expected"),  # the first two updates of a constant gradient G at the parameters (1, -2)
    [
        ("adam", {}, [-PEAK * np.sign(G)] * 2),
        ("adam_burn_in", {}, [-PEAK * np.sign(G)] * 2),
        ("adamw", {"weight_decay": 0.5}, [-PEAK * (np.sign(G) + 0.5 * np.array([1.0, -2.0]))] * 2),
        ("rmsprop", {"decay": 0.75}, [-PEAK * np.sign(G) / np.sqrt(0.25), -PEAK * np.sign(G) / np.sqrt(0.4375)]),
        ("sgd", {"momentum": 0.5}, [-PEAK * G, -PEAK * 1.5 * G]),
    ],
)
def test_optimizers_take_the_steps_of_their_definitions(name, options, expected):
    np.testing.assert_allclose(first_updates(OPTIMIZERS[name](PEAK, **options), [G, G]), expected, rtol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends_and_scales_with_the_learning_rate(name):
    """On (p - 3)^2 / 2 from 1 and -2, where no update may lead away; at the rate 0 nothing moves."""
    start, goal = jnp.asarray([1.0, -2.0]), 3.0

    @jax.jit
    def distances(rate):
        def update(carry, _):
            params, state = carry
            updates, state = transform.update(params - goal, state, params)
            return (optax.apply_updates(params, updates), state), jnp.abs(params - goal)

        transform = OPTIMIZERS[name](rate)
        return jax.lax.scan(update, (start, transform.init(start)), length=20)[1]

    with jax.numpy_dtype_promotion("standard"):  # as `make_step` does
        moving, still = np.asarray(distances(0.01)), np.asarray(distances(0.0))
    assert np.all(np.diff(moving, axis=0) < 0)
    np.testing.assert_array_equal(still, still[:1].repeat(20, 0))


def test_adam_takes_its_moments_from_the_options():
    """b1 = 0: the update is g / sqrt(v); at the second step v = (b2 (1 - b2) g1^2 + (1 - b2) g2^2) / (1 - b2^2)."""
    g1, g2 = np.float32(2), np.float32(1)
    _, second = first_updates(OPTIMIZERS["adam"](PEAK, b1=0.0, b2=0.5), [[g1, g1], [g2, g2]])
    v = (0.25 * g1**2 + 0.5 * g2**2) / 0.75
    np.testing.assert_allclose(second, [-PEAK * g2 / math.sqrt(v)] * 2, rtol=1e-5)


def test_adam_burn_in_takes_its_b2_from_the_update():
    """From 0.5 to 0.9 over 2 updates: b2 is 0.5, then 0.7. v = b2 v + (1 - b2) g^2, over 1 - b2^n."""
    gradients, v, expected = [2.0, 1.0, 3.0], 0.0, []
    for n, (g, b2) in enumerate(zip(gradients, (0.5, 0.7, 0.9), strict=True), 1):
        v = b2 * v + (1 - b2) * g**2
        expected.append(-PEAK * g / math.sqrt(v / (1 - b2**n)))
    adam = OPTIMIZERS["adam_burn_in"](PEAK, b1=0.0, b2=0.5, final_b2=0.9, over=2)
    found = first_updates(adam, [[np.float32(g)] * 2 for g in gradients])
    np.testing.assert_allclose([update[0] for update in found], expected, rtol=1e-5)


def test_adam_burn_in_follows_its_learning_rate():
    adam = OPTIMIZERS["adam_burn_in"](SCHEDULES["linear"](PEAK, 2), b2=0.9, final_b2=0.9)
    found = first_updates(adam, [G, G, G])
    np.testing.assert_allclose(found, [-PEAK * np.sign(G), -PEAK / 2 * np.sign(G), 0 * G], atol=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
    def moved(norm, gradient):
        update, _ = clipped(optax.sgd(1.0), norm).update(gradient, clipped(optax.sgd(1.0), norm).init(gradient))
        return -np.concatenate([np.ravel(update["a"]), np.ravel(update["b"])])

    gradient = {"a": jnp.asarray([3.0]), "b": jnp.asarray([0.0, 4.0])}  # norm 5
    np.testing.assert_allclose(moved(None, gradient), [3, 0, 4])
    np.testing.assert_allclose(moved(1.0, gradient), [0.6, 0, 0.8], rtol=1e-6)
    np.testing.assert_allclose(moved(10.0, gradient), [3, 0, 4], rtol=1e-6)


def test_a_config_becomes_a_clipped_scheduled_transform():
    optimizer = Optimizer(0.5, Component("sgd"), Component("linear"), clip=1.0)
    updates = first_updates(build_transform(optimizer, steps=2), [[3.0, 4.0]] * 3)
    np.testing.assert_allclose(updates, [[-0.3, -0.4], [-0.15, -0.2], [0, 0]], atol=1e-6)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UsageError, match=f"unknown optimizer 'nadir'; known: {', '.join(sorted(OPTIMIZERS))}"):
        build_transform(Optimizer(0.1, Component("nadir")), 10)
    with pytest.raises(UsageError, match=f"unknown schedule 'never'; known: {', '.join(sorted(SCHEDULES))}"):
        build_transform(Optimizer(0.1, Component("adam"), Component("never")), 10)


def test_after_the_half_life_a_weight_is_one_half():
    """Far from the start: what was there `images` ago counts half."""
    images, batch = 640.0, 32
    decay, start = half_life(images, batch), 10_000
    weight = math.prod(float(decay(jnp.int32(start + i))) for i in range(int(images / batch)))
    assert weight == pytest.approx(0.5, rel=1e-4)


def test_an_average_forgets_its_start_at_once():
    """At first the half-life is a twentieth of the images seen: after the n-th step 2^(-20 / n) is kept."""
    decay = half_life(1e6, 32)
    for n in (1, 2, 10, 100):
        assert float(decay(jnp.int32(n - 1))) == pytest.approx(2 ** (-20 / n), rel=1e-5)


def test_a_half_life_burns_in_from_nothing():
    """After a quarter, half and all of 6400 images it is 15 %, 50 % and all of what it will be; R3GAN's way."""
    decay = half_life(1e5, 32, burn_in_images=6400.0)
    for step, share in ((50, (1 - math.cos(math.pi / 4)) / 2), (100, 0.5), (200, 1.0), (10_000, 1.0)):
        assert float(decay(jnp.int32(step))) == pytest.approx(2 ** (-32 / (share * 1e5)), rel=1e-5)
    assert float(decay(jnp.int32(0))) == 0.0  # at first the average is the parameters themselves


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.0}, r"\.clip above 0"),
        ({"clip": -1.0}, r"\.clip above 0"),
        ({"learning_rate": -1e-3}, "learning-rate is at least 0"),
        ({"transform": Component("adam", {"b2": 1.5})}, "b2 .* from 0 to below 1, got 1.5"),
        ({"transform": Component("adam", {"eps": -1.0})}, "eps .* at least 0"),
        ({"transform": Component("sgd", {"momentum": 5.0})}, "momentum .* below 1"),
        ({"schedule": Component("cosine", {"warmup_steps": -5})}, "warmup-steps .* at least 0"),
    ],
)
def test_numbers_that_would_climb_or_stand_still_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        build_transform(Optimizer(**options), STEPS)
