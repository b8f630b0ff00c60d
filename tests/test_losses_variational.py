"""Divergences, likelihoods and bounds against SciPy-free oracles: sums, integrals, samples, differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.losses import variational as v
from genjax_art.shards import DEVICE_AXIS

EXTREMES = [-1e4, -100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 100.0, 1e4]
RANGES = [(-1.0, 1.0), (0.0, 1.0)]
NAMES = sorted(v.LIKELIHOODS)


# One compilation for each shape instead of one for each operation.
def kl_standard_normal(mu, logvar):
    return jax.jit(v.kl_gaussians)(v.Gaussian(mu, logvar))


importance_weighted_bound = jax.jit(v.importance_weighted_bound)
gaussian = jax.jit(v.gaussian)
discretized_logistic = jax.jit(v.discretized_logistic, static_argnums=(3, 4, 5))
bernoulli = jax.jit(v.bernoulli)
free_bits = jax.jit(v.free_bits, static_argnums=1)


def f32(x):
    return jnp.asarray(x, jnp.float32)


def central_differences(function, x, step=1e-6):
    """Gradient of a scalar function of a float64 array."""
    moves = step * np.eye(x.size).reshape(x.size, *x.shape)
    slopes = jax.jit(jax.vmap(lambda e: (function(x + e) - function(x - e)) / (2 * step)))(moves)
    return slopes.reshape(x.shape)


def test_kl_is_the_integral_over_the_line():
    mu, logvar = np.array([[0.3, -2.0]]), np.array([[-1.5, 0.8]])
    x = np.linspace(-25, 25, 200_001)
    expected = 0.0
    for m, log in zip(mu[0], logvar[0], strict=True):
        q = np.exp(-0.5 * (x - m) ** 2 / np.exp(log) - 0.5 * log) / math.sqrt(2 * math.pi)
        log_ratio = -0.5 * (x - m) ** 2 / np.exp(log) - 0.5 * log + 0.5 * x**2
        expected += np.sum(q * log_ratio) * (x[1] - x[0])
    np.testing.assert_allclose(kl_standard_normal(f32(mu), f32(logvar)), [expected], rtol=1e-6)


def test_kl_between_gaussians_is_the_integral_over_the_line():
    for mu, logvar, prior_mu, prior_logvar in ((0.5, -1.0, -1.0, 0.7), (2.0, 1.0, 2.0, 1.0), (0.0, -3.0, 0.1, -4.0)):
        q, p = v.Gaussian(f32([[mu]]), f32([[logvar]])), v.Gaussian(f32([[prior_mu]]), f32([[prior_logvar]]))
        line = np.linspace(-30, 30, 400_001)
        densities = [
            np.exp(-((line - m) ** 2) / (2 * np.exp(s))) / np.sqrt(2 * np.pi * np.exp(s))
            for m, s in ((mu, logvar), (prior_mu, prior_logvar))
        ]
        logs = [-((line - m) ** 2) / (2 * np.exp(s)) - s / 2 for m, s in ((mu, logvar), (prior_mu, prior_logvar))]
        expected = np.sum(densities[0] * (logs[0] - logs[1])) * (line[1] - line[0])
        np.testing.assert_allclose(v.kl_gaussians(q, p), [expected], rtol=1e-5, atol=1e-6)
    standard = v.Gaussian(f32([[0.0]]), f32([[0.0]]))
    np.testing.assert_allclose(v.kl_gaussians(q, standard), v.kl_gaussians(q), rtol=1e-6)
    far = v.Gaussian(f32([[100.0]]), f32([[80.0]]))
    for one, other in ((far, q), (q, far), (far, v.Gaussian(f32([[-100.0]]), f32([[-80.0]])))):
        value, slope = jax.value_and_grad(lambda q, p=other: jnp.sum(v.kl_gaussians(q, p)))(one)
        assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_kl_is_zero_only_at_the_prior_and_sums_all_latent_axes():
    zero = np.zeros((2, 3, 4), np.float32)
    np.testing.assert_array_equal(kl_standard_normal(zero, zero), np.zeros(2))
    np.testing.assert_allclose(kl_standard_normal(zero + 2.0, zero), np.full(2, 12 * 2.0))
    small = kl_standard_normal(f32([[0.0]]), f32([[1e-3]]))  # exp(l) - 1 - l would be off by a twentieth
    np.testing.assert_allclose(small, [0.5 * (math.expm1(1e-3) - 1e-3)], rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_kl_is_finite_at_extreme_log_variance(dtype):
    mu, logvar = (jnp.asarray(a.reshape(-1, 1), dtype) for a in np.meshgrid(EXTREMES, EXTREMES))
    value = kl_standard_normal(mu, logvar)
    assert value.dtype == jnp.float32
    slopes = jax.jit(jax.grad(lambda m, s: jnp.sum(kl_standard_normal(m, s)), (0, 1)))(mu, logvar)
    for array in (value, *slopes):
        assert np.all(np.isfinite(np.asarray(array, np.float32)))
    steep = np.float32(slopes[1])[np.float32(logvar) == 100.0]
    assert np.all(steep > 1e20)  # a runaway variance is still pulled back


def test_samples_are_finite_at_extreme_log_variance():
    mu, logvar = (f32(a.reshape(-1, 1)) for a in np.meshgrid(EXTREMES, EXTREMES))
    noise = f32(np.full(mu.shape, -2.0))
    drawn = v.Gaussian(mu, logvar).at(noise)
    slopes = jax.jit(jax.grad(lambda m, s: jnp.sum(v.Gaussian(m, s).at(noise)), (0, 1)))(mu, logvar)
    assert all(np.isfinite(array).all() for array in (drawn, *slopes))
    usual = np.abs(np.asarray(logvar)) <= 30
    expected = np.asarray(mu) - 2 * np.exp(np.where(usual, logvar, 0) / 2)
    np.testing.assert_allclose(np.asarray(drawn)[usual], expected[usual], rtol=1e-6)


def test_kl_gradient_is_the_finite_difference():
    with jax.enable_x64(True):
        mu, logvar = np.random.default_rng(0).normal(size=(2, 2, 3))
        for at in (logvar, logvar + 49.0):
            slope = jax.jit(jax.grad(lambda s: jnp.sum(kl_standard_normal(mu, s))))(at)
            numeric = central_differences(lambda s: jnp.sum(kl_standard_normal(mu, s)), at)
            np.testing.assert_allclose(slope, numeric, rtol=1e-5)


def test_free_bits_charge_the_floor_in_the_batch_mean():
    kl = f32([[0.1, 2.0], [0.3, 0.4]])  # means 0.2 and 1.2
    np.testing.assert_allclose(np.mean(np.asarray(free_bits(kl, 0.5))), 0.5 + 1.2, rtol=1e-6)
    np.testing.assert_allclose(free_bits(kl, 0.0), np.sum(np.asarray(kl), 1))
    slope = jax.jit(jax.grad(lambda k: jnp.mean(free_bits(k, 0.5))))(kl)
    np.testing.assert_allclose(slope, [[0.0, 0.5], [0.0, 0.5]])


def test_free_bits_are_the_same_on_eight_devices():
    kl = f32(np.random.default_rng(1).gamma(1.0, 1.0, size=(16, 5)))
    expected = free_bits(kl, 1.0)
    found = jax.pmap(lambda k: free_bits(k, 1.0), DEVICE_AXIS)(kl.reshape(8, 2, 5)).reshape(16)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(jnp.mean(expected), np.sum(np.maximum(1.0, np.mean(kl, 0))), rtol=1e-5)


def test_elbo_of_a_linear_gaussian_model_is_exact_at_the_posterior():
    """x = z + noise of variance s2: with q the posterior, E[log p(x|z)] - KL equals log N(x; 0, 1 + s2)."""
    s2, x = 0.25, 1.3
    mean, variance = x / (1 + s2), s2 / (1 + s2)
    expected_log_likelihood = -0.5 * math.log(2 * math.pi * s2) - ((x - mean) ** 2 + variance) / (2 * s2)
    parts = v.elbo_parts(f32([expected_log_likelihood]), kl_standard_normal(f32([[mean]]), f32([[math.log(variance)]])))
    evidence = -0.5 * math.log(2 * math.pi * (1 + s2)) - x**2 / (2 * (1 + s2))
    np.testing.assert_allclose(parts.elbo, [evidence], rtol=1e-6)
    assert float(parts.reconstruction[0]) == pytest.approx(-expected_log_likelihood, rel=1e-6)
    wrong = v.elbo_parts(
        f32([expected_log_likelihood]), kl_standard_normal(f32([[mean + 0.3]]), f32([[math.log(variance)]]))
    )
    assert float(wrong.kl[0]) > float(parts.kl[0])


def test_importance_weighted_bound_is_the_log_mean_and_rises_with_k():
    weights = np.random.default_rng(2).normal(size=(64, 3))
    np.testing.assert_allclose(importance_weighted_bound(f32(weights)), np.log(np.mean(np.exp(weights), 0)), rtol=1e-5)
    np.testing.assert_allclose(importance_weighted_bound(f32(weights[:1])), weights[0], rtol=1e-6)
    means = [float(np.mean(importance_weighted_bound(f32(w)))) for w in (weights.reshape(1, -1), weights)]
    assert means[0] < means[1]
    extreme = f32([[1e4], [-1e4], [-100.0]])
    value, slope = jax.jit(jax.value_and_grad(lambda w: jnp.sum(importance_weighted_bound(w))))(extreme)
    np.testing.assert_allclose(value, 1e4 - math.log(3), rtol=1e-6)
    np.testing.assert_allclose(slope, [[1.0], [0.0], [0.0]], atol=1e-6)


def test_bits_per_dimension_of_uniform_data_is_the_level_count():
    """256 equally likely levels cost 8 bits a number, told as a mass or as a density in any units."""
    size = 12
    np.testing.assert_allclose(v.bits_per_dimension(f32([size * math.log(256)]), size), [8.0], rtol=1e-6)
    for low, high in RANGES:
        nats = f32([size * math.log(high - low)])  # -log of the uniform density
        np.testing.assert_allclose(v.bits_per_dimension(nats, size, (high - low) / 256), [8.0], rtol=1e-6)


def test_bernoulli_is_the_log_probability_and_normalised():
    logits, x = (
        np.random.default_rng(3).normal(size=(2, 3, 4)),
        np.random.default_rng(4).integers(0, 2, (2, 3, 4)),
    )
    p = 1 / (1 + np.exp(-logits))
    expected = np.sum(np.log(np.where(x == 1, p, 1 - p)), axis=(1, 2))
    np.testing.assert_allclose(bernoulli(f32(logits), f32(x)), expected, rtol=1e-5)
    both = bernoulli(f32([[1.7], [1.7]]), f32([[0.0], [1.0]]))
    np.testing.assert_allclose(np.sum(np.exp(both)), 1.0, rtol=1e-6)


def test_gaussian_integrates_to_one_and_peaks_at_the_mean():
    x = np.linspace(-8, 8, 4001).reshape(-1, 1)
    density = np.exp(gaussian(f32(np.full(x.shape, 0.4)), f32(x), f32(-0.3)))
    np.testing.assert_allclose(np.sum(density) * (x[1, 0] - x[0, 0]), 1.0, rtol=1e-4)
    assert x[int(np.argmax(density)), 0] == pytest.approx(0.4)
    at_mean = gaussian(f32(np.zeros((1, 5))), f32(np.zeros((1, 5))), f32(-0.3))
    np.testing.assert_allclose(at_mean, [5 * (0.3 - 0.5 * math.log(2 * math.pi))], rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("log_scale", [-12.0, -5.0, -2.0, 0.0, 3.0, 25.0])
@pytest.mark.parametrize("mean", [-3.0, 0.1, 1.0])
def test_discretized_logistic_sums_to_one_over_all_levels(low, high, log_scale, mean):
    x = np.linspace(low, high, 256).reshape(-1, 1)
    log_mass = discretized_logistic(f32(np.full(x.shape, mean)), f32(x), f32(log_scale), 256, low, high)
    np.testing.assert_allclose(np.sum(np.exp(log_mass)), 1.0, rtol=2e-4)


def test_discretized_logistic_is_the_difference_of_sigmoids():
    def oracle(x, mean, scale, levels):
        width = 2 / (levels - 1)
        upper, lower = (1 / (1 + np.exp(-(x - mean + s * width / 2) / scale)) for s in (1, -1))
        return np.log(np.where(x > 0.999, 1.0, upper) - np.where(x < -0.999, 0.0, lower))

    x = np.linspace(-1, 1, 16).reshape(2, 8)
    mean = np.random.default_rng(5).normal(size=(2, 8))
    expected = np.sum(oracle(x, mean, math.exp(-0.7), 16), 1)
    found = discretized_logistic(f32(mean), f32(x), f32(-0.7), 16, -1.0, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    per_pixel = discretized_logistic(f32(mean), f32(x), f32(np.full((2, 8), -0.7)), 16, -1.0, 1.0)
    np.testing.assert_allclose(per_pixel, found, rtol=1e-6)


def test_discretized_logistic_of_a_wide_scale_is_density_times_bin_width():
    """The difference of two sigmoids there is far below a float32 of either."""
    log_mass = discretized_logistic(f32([[0.1]]), f32([[0.1]]), f32(18.0), 256, -1.0, 1.0)
    np.testing.assert_allclose(log_mass, [math.log(2 / 255) - 18.0 - 2 * math.log(2)], rtol=1e-6)


def pixels(low, high, shape, seed):
    return low + (high - low) * np.random.default_rng(seed).integers(0, 256, shape) / 255.0


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_is_finite_at_extreme_outputs_and_scales(name, low, high):
    likelihood = v.LIKELIHOODS[name]
    outputs = f32(np.repeat(np.array(EXTREMES)[:, None], 3, 1))
    x = f32(np.broadcast_to([[low, 0.5 * (low + high), high]], outputs.shape))
    for dtype in (jnp.float32, jnp.bfloat16):
        value_of = jax.jit(lambda o, y, s: likelihood.log_prob(o, y, s, low, high))
        slopes_of = jax.jit(jax.grad(lambda o, y, s, f=value_of: jnp.sum(f(o, y, s)), (0, 2)))
        for log_scale in (-100.0, -7.0, 0.0, 100.0):
            arguments = (outputs.astype(dtype), x.astype(dtype), f32(log_scale))
            value = value_of(*arguments)
            assert value.shape == (len(EXTREMES),)
            assert value.dtype == jnp.float32
            slopes = slopes_of(*arguments)
            for array in (value, *slopes):
                assert np.all(np.isfinite(np.asarray(array, np.float32))), (dtype, log_scale)


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_likelihoods_gradient_is_the_finite_difference(name, low, high):
    likelihood = v.LIKELIHOODS[name]
    with jax.enable_x64(True):
        outputs = jnp.asarray(np.random.default_rng(6).normal(size=(2, 2, 2)))
        x = jnp.asarray(np.concatenate([[low], pixels(low, high, 6, 7), [high]]).reshape(2, 2, 2))
        scale = jnp.asarray(-0.8)

        def by_outputs(o):
            return jnp.sum(likelihood.log_prob(o, x, scale, low, high))

        def by_scale(s):
            return jnp.sum(likelihood.log_prob(outputs, x, s, low, high))

        np.testing.assert_allclose(
            jax.jit(jax.grad(by_outputs))(outputs), central_differences(by_outputs, outputs), rtol=1e-5, atol=1e-7
        )
        slope = jax.jit(jax.grad(by_scale))(scale)
        np.testing.assert_allclose(slope, central_differences(by_scale, scale), rtol=1e-5, atol=1e-7)
        assert (float(slope) != 0.0) == likelihood.has_scale


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("name", NAMES)
def test_ascent_in_every_likelihood_leads_the_mean_to_the_picture(name, low, high):
    likelihood = v.LIKELIHOODS[name]
    x = f32(pixels(low, high, (2, 3), 8))
    slope = jax.grad(lambda o: jnp.sum(likelihood.log_prob(o, x, f32(-1.0), low, high)))

    def climb(_, outputs):
        return outputs + 0.3 * jnp.sign(slope(outputs)) * jnp.minimum(1.0, jnp.abs(slope(outputs)))

    outputs = jax.lax.fori_loop(0, 400, climb, jnp.zeros((2, 3)))
    mean = likelihood.mean(outputs, low, high)
    np.testing.assert_allclose(mean, x, atol=0.1 * (high - low))
    wide = likelihood.mean(f32([[-1e4, 0.0, 1e4]]), low, high)
    np.testing.assert_allclose(wide, [[low, 0.5 * (low + high), high]], atol=1e-6)
