"""The quick primitives against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.losses.precision import softplus, sum_per_example


def test_softplus_is_as_precise_as_float32():
    x = np.concatenate([np.linspace(-80, 80, 20_001), np.linspace(-1e-3, 1e-3, 101)]).astype(np.float32)
    expected = np.logaddexp(x.astype(np.float64), 0)
    assert np.max(np.abs(np.asarray(softplus(jnp.asarray(x)), np.float64) / expected - 1)) < 3e-7
    slope = np.asarray(jax.vmap(jax.grad(softplus))(jnp.asarray(x)), np.float64)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)
    curvature = np.asarray(jax.vmap(jax.grad(jax.grad(softplus)))(jnp.asarray(x)), np.float64)
    np.testing.assert_allclose(curvature, slope * (1 - slope), atol=1e-6)


def test_softplus_is_finite_far_out():
    x = jnp.asarray([-3e38, -1e4, -100.0, 0.0, 100.0, 1e4, 3e38], jnp.float32)
    np.testing.assert_allclose(softplus(x), np.logaddexp(x, np.float32(0)), rtol=3e-7, atol=1e-37)
    assert np.isfinite(jax.vmap(jax.grad(softplus))(x)).all()


def test_softplus_keeps_float64():
    with jax.enable_x64(True):
        x = jnp.linspace(-40.0, 40.0, 81)
        np.testing.assert_allclose(softplus(x), np.logaddexp(x, 0), rtol=1e-14)


def test_sum_per_example():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(sum_per_example(jnp.asarray(x)), x.sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(sum_per_example(jnp.asarray(x[:, 0, 0, 0])), x[:, 0, 0, 0])
