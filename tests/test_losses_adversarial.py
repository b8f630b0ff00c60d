"""Adversarial losses against closed forms, finite differences and their own mirror images."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.shards import DEVICE_AXIS

NAMES = sorted(ADVERSARIAL)
EXTREMES = [-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4]


def sigmoid(d):
    return 1.0 / (1.0 + np.exp(-d))


# The papers' formulas as printed, on probabilities and in float64: right wherever the logits are moderate.
def _logistic(r, f):
    return -np.log(sigmoid(r)) - np.log(1 - sigmoid(f))


def _average(r, f):
    return -np.log(sigmoid(r - f.mean())) - np.log(1 - sigmoid(f - r.mean()))


ORACLES = {  # discriminator(real, fake), generator(real, fake)
    "minimax": (_logistic, lambda r, f: np.log(1 - sigmoid(f))),
    "non_saturating": (_logistic, lambda r, f: -np.log(sigmoid(f))),
    "least_squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: -np.log(sigmoid(r - f)), lambda r, f: -np.log(sigmoid(f - r))),
    "relativistic_average": (_average, lambda r, f: _average(f, r)),
}


def logits(seed, n=16, scale=3.0):
    real, fake = scale * np.random.default_rng(seed).normal(size=(2, n))
    return real, fake


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_the_papers_formula(name):
    real, fake = logits(0)
    loss = ADVERSARIAL[name]
    r, f = jnp.asarray(real, jnp.float32), jnp.asarray(fake, jnp.float32)
    discriminator, generator = ORACLES[name]
    np.testing.assert_allclose(loss.discriminator(r, f), discriminator(real, fake), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(loss.generator(f, r), generator(real, fake), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    loss = ADVERSARIAL[name]
    with jax.enable_x64(True):
        real, fake = (jnp.asarray(v) for v in logits(1, n=6))
        for function, arguments in ((loss.discriminator, (real, fake)), (loss.generator, (fake, real))):
            for position in (0, 1):
                moved = arguments[position]

                def total(v, function=function, arguments=arguments, position=position):
                    return jnp.sum(function(*(v if i == position else a for i, a in enumerate(arguments))))

                steps = 1e-6 * jnp.eye(len(moved))
                numeric = jax.jit(jax.vmap(lambda e, f=total, m=moved: (f(m + e) - f(m - e)) / 2e-6))(steps)
                np.testing.assert_allclose(jax.jit(jax.grad(total))(moved), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite_at_extreme_logits(name, dtype):
    loss = ADVERSARIAL[name]
    real, fake = (jnp.asarray(v.ravel(), dtype) for v in np.meshgrid(EXTREMES, EXTREMES))
    for function, arguments in ((loss.discriminator, (real, fake)), (loss.generator, (fake, real))):
        value = function(*arguments)
        assert value.dtype == jnp.float32
        assert value.shape == real.shape
        gradients = jax.jit(jax.grad(lambda *a, f=function: jnp.sum(f(*a)), (0, 1)))(*arguments)
        for array in (value, *gradients):
            assert np.all(np.isfinite(np.asarray(array, np.float32)))


@pytest.mark.parametrize("name", NAMES)
def test_needs_real_tells_whether_the_generator_looks_at_real_logits(name):
    loss = ADVERSARIAL[name]
    real, fake = (jnp.asarray(v, jnp.float32) for v in logits(2))
    gradient = jax.grad(lambda r: jnp.sum(loss.generator(fake, r)))(real)
    assert bool(jnp.any(gradient != 0)) == loss.needs_real
    if not loss.needs_real:
        np.testing.assert_array_equal(loss.generator(fake), loss.generator(fake, real))


@pytest.mark.parametrize("name", NAMES)
def test_descent_moves_the_logits_the_right_way(name):
    loss = ADVERSARIAL[name]
    zero = jnp.zeros(4)
    to_real, to_fake = jax.grad(lambda r, f: jnp.sum(loss.discriminator(r, f)), (0, 1))(zero, zero)
    assert bool(jnp.all(to_real < 0))  # D(x) goes up
    if name != "least_squares":  # its target for fakes is 0, where they are
        assert bool(jnp.all(to_fake > 0))  # D(G(z)) goes down: the printed slip has the other sign
    assert bool(jnp.all(jax.grad(lambda f: jnp.sum(loss.generator(f, zero)))(zero) < 0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minimax", (2 * math.log(2), -math.log(2))),
        ("non_saturating", (2 * math.log(2), math.log(2))),
        ("least_squares", (0.5, 0.5)),
        ("hinge", (2.0, 0.0)),
        ("wasserstein", (0.0, 0.0)),
        ("relativistic", (math.log(2), math.log(2))),
        ("relativistic_average", (2 * math.log(2), 2 * math.log(2))),
    ],
)
def test_value_of_an_undecided_discriminator(name, expected):
    zero = jnp.zeros(3)
    loss = ADVERSARIAL[name]
    np.testing.assert_allclose(loss.discriminator(zero, zero), np.full(3, expected[0]), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(zero, zero), np.full(3, expected[1]), rtol=1e-6)


@pytest.mark.parametrize("name", ["relativistic", "relativistic_average"])
def test_relativistic_losses_ignore_a_common_shift(name):
    real, fake = (jnp.asarray(v, jnp.float32) for v in logits(3))
    loss = ADVERSARIAL[name]
    np.testing.assert_allclose(
        loss.discriminator(real + 5.0, fake + 5.0), loss.discriminator(real, fake), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_give_the_value_and_parameter_gradient_of_one(name):
    real, fake = (jnp.asarray(v, jnp.float32) for v in logits(4, n=32))
    loss = ADVERSARIAL[name]

    def mean_loss(scale, r, f):  # one parameter, so that the gradient runs through the global mean
        return jnp.mean(loss.discriminator(scale * r, scale * f) + loss.generator(scale * f, scale * r))

    def local(scale, r, f):
        value, gradient = jax.value_and_grad(mean_loss)(scale, r, f)
        return jax.lax.pmean(value, DEVICE_AXIS), jax.lax.pmean(gradient, DEVICE_AXIS)

    expected = jax.jit(jax.value_and_grad(mean_loss))(jnp.float32(0.7), real, fake)
    on_eight = jax.pmap(local, DEVICE_AXIS, in_axes=(None, 0, 0), out_axes=None)
    found = on_eight(jnp.float32(0.7), real.reshape(8, 4), fake.reshape(8, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
