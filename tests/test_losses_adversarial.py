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
    return scale * np.random.default_rng(seed).normal(size=(2, n))


def both_losses(name):
    """(real, fake) -> the discriminator's loss and the generator's: a test compiles both in one program."""
    loss = ADVERSARIAL[name]
    return lambda real, fake: (loss.discriminator(real, fake), loss.generator(fake, real))


def slopes(name):
    """(real, fake) -> the gradients of both summed losses, each in (real, fake)."""
    discriminator, generator = (lambda *a, i=i: jnp.sum(both_losses(name)(*a)[i]) for i in (0, 1))
    return lambda *a: (jax.grad(discriminator, (0, 1))(*a), jax.grad(generator, (0, 1))(*a))


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_the_papers_formula(name):
    real, fake = logits(0)
    found = jax.jit(both_losses(name))(np.float32(real), np.float32(fake))
    for value, oracle in zip(found, ORACLES[name], strict=True):
        np.testing.assert_allclose(value, oracle(real, fake), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    with jax.enable_x64(True):
        real, fake = logits(1, n=6)
        step = 1e-6 * np.eye(6)

        @jax.jit
        def differences(real, fake):
            def total(r, f):
                return [jnp.sum(value) for value in both_losses(name)(r, f)]

            def difference(ahead, behind):
                return [(a - b) / 2e-6 for a, b in zip(total(*ahead), total(*behind), strict=True)]

            by_real = jax.vmap(lambda e: difference((real + e, fake), (real - e, fake)))(step)
            by_fake = jax.vmap(lambda e: difference((real, fake + e), (real, fake - e)))(step)
            return list(zip(by_real, by_fake, strict=True))

        found, numeric = jax.jit(slopes(name))(real, fake), differences(real, fake)
        np.testing.assert_allclose(np.asarray(found), np.asarray(numeric), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite_at_extreme_logits(name, dtype):
    real, fake = (np.asarray(v.ravel(), dtype) for v in np.meshgrid(EXTREMES, EXTREMES))
    values, gradients = jax.jit(lambda *a: (both_losses(name)(*a), slopes(name)(*a)))(real, fake)
    assert all(value.dtype == jnp.float32 and value.shape == real.shape for value in values)
    assert all(np.all(np.isfinite(np.float32(v))) for v in jax.tree.leaves((values, gradients)))


@pytest.mark.parametrize("name", NAMES)
def test_needs_real_tells_whether_the_generator_looks_at_real_logits(name):
    loss = ADVERSARIAL[name]
    real, fake = np.float32(logits(2))
    _, (to_real, _) = jax.jit(slopes(name))(real, fake)
    assert np.any(np.asarray(to_real) != 0) == loss.needs_real
    if not loss.needs_real:
        alone, beside = jax.jit(lambda r, f: (loss.generator(f), loss.generator(f, r)))(real, fake)
        np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize("name", NAMES)
def test_descent_moves_the_logits_the_right_way(name):
    zero = np.zeros(4, np.float32)
    (to_real, to_fake), (_, from_generator) = jax.jit(slopes(name))(zero, zero)
    assert np.all(np.asarray(to_real) < 0)  # D(x) goes up
    if name != "least_squares":  # its target for fakes is 0, where they are
        assert np.all(np.asarray(to_fake) > 0)  # D(G(z)) goes down: the printed slip has the other sign
    assert np.all(np.asarray(from_generator) < 0)


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
    zero = np.zeros(3, np.float32)
    found = jax.jit(both_losses(name))(zero, zero)
    np.testing.assert_allclose(found, np.tile(expected, (3, 1)).T, rtol=1e-6)


@pytest.mark.parametrize("name", ["relativistic", "relativistic_average"])
def test_relativistic_losses_ignore_a_common_shift(name):
    real, fake = np.float32(logits(3))
    losses = jax.jit(both_losses(name))
    np.testing.assert_allclose(losses(real + 5.0, fake + 5.0), losses(real, fake), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_give_the_value_and_parameter_gradient_of_one(name):
    real, fake = np.float32(logits(4, n=32))

    def mean_loss(scale, r, f):  # one parameter, so that the gradient runs through the global mean
        return jnp.mean(sum(both_losses(name)(scale * r, scale * f)))

    def local(scale, r, f):
        value, gradient = jax.value_and_grad(mean_loss)(scale, r, f)
        return jax.lax.pmean(value, DEVICE_AXIS), jax.lax.pmean(gradient, DEVICE_AXIS)

    expected = jax.jit(jax.value_and_grad(mean_loss))(np.float32(0.7), real, fake)
    on_eight = jax.pmap(local, DEVICE_AXIS, in_axes=(None, 0, 0), out_axes=None)
    found = on_eight(np.float32(0.7), real.reshape(8, 4), fake.reshape(8, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
