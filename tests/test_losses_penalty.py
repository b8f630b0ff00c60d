"""Penalties against linear and quadratic critics, finite differences, and eight devices against one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.losses import penalty
from genjax_art.shards import DEVICE_AXIS

NAMES = sorted(penalty.PENALTIES)
KEY = jax.random.key(0)
SHAPE = (8, 3, 2)


def draw(seed, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def linear(w):
    return lambda x: jnp.einsum("bij,ij->b", x, w)


def quadratic(a):
    """a/2 ||x||^2, whose slope at x is a x."""
    return lambda x: 0.5 * a * jnp.sum(x**2, axis=(1, 2))


def smooth(weights):
    """A small network with curvature in its inputs and parameters."""
    return lambda x: jnp.tanh(x.reshape(x.shape[0], -1) @ weights["in"]) @ weights["out"]


def weights(seed=0):
    return {"in": draw(seed, (6, 5)), "out": draw(seed + 1, (5,))}


def test_squared_gradient_norm_of_linear_and_quadratic_critics():
    w, x = draw(1, SHAPE[1:]), draw(2)
    np.testing.assert_allclose(penalty.squared_gradient_norm(linear(w), x), np.full(8, np.sum(w**2)), rtol=1e-5)
    norms = np.sum(np.square(x), axis=(1, 2))
    np.testing.assert_allclose(penalty.squared_gradient_norm(quadratic(1.5), x), 2.25 * norms, rtol=1e-5)
    logits, squares = penalty.value_and_squared_gradient_norm(quadratic(1.5), x)
    np.testing.assert_allclose(logits, 0.75 * norms, rtol=1e-5)
    np.testing.assert_allclose(squares, 2.25 * norms, rtol=1e-5)


def test_squared_gradient_norm_is_the_finite_difference():
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        critic = smooth({"in": jnp.asarray(rng.normal(size=(6, 5))), "out": jnp.asarray(rng.normal(size=5))})
        x = jnp.asarray(rng.normal(size=(2, 3, 2)))
        moves = 1e-5 * jnp.eye(6).reshape(6, 1, 3, 2)
        slopes = jax.vmap(lambda e: (critic(x + e) - critic(x - e)) / 2e-5)(moves)
        np.testing.assert_allclose(penalty.squared_gradient_norm(critic, x), np.sum(np.square(slopes), 0), rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_gradient_of_every_penalty_is_the_finite_difference(name):
    """The second-order gradient that training takes, through the pull-back."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(4)
        real, fake = (jnp.asarray(rng.normal(size=(4, 3, 2))) for _ in range(2))
        inner, outer = jnp.asarray(rng.normal(size=(6, 5))), jnp.asarray(rng.normal(size=5))

        @jax.jit
        def total(w):
            values = penalty.PENALTIES[name](smooth({"in": w, "out": outer}), real, fake, KEY)
            return jnp.sum(values)

        moves = 1e-5 * np.eye(30).reshape(30, 6, 5)
        numeric = jax.lax.map(lambda e: (total(inner + e) - total(inner - e)) / 2e-5, jnp.asarray(moves))
        slope = jax.jit(jax.grad(total))(inner)
        assert np.max(np.abs(slope)) > 0.1
        np.testing.assert_allclose(np.ravel(slope), numeric, rtol=1e-4, atol=1e-5)


def test_r1_looks_at_reals_and_r2_at_fakes():
    real, fake = draw(5), draw(6)
    critic = quadratic(1.0)
    for name, x in (("r1", real), ("r2", fake)):
        expected = np.sum(np.square(x), axis=(1, 2))
        np.testing.assert_allclose(penalty.PENALTIES[name](critic, real, fake, KEY), expected, rtol=1e-5)


def test_gradient_penalty_is_taken_between_real_and_fake():
    real, fake, mix = draw(7), draw(8), jnp.linspace(0.0, 1.0, 8)
    points = np.asarray(mix)[:, None, None] * real + (1 - np.asarray(mix)[:, None, None]) * fake
    norms = 2.0 * np.sqrt(np.sum(points**2, axis=(1, 2)))
    found = penalty.gradient_penalty(quadratic(2.0), real, fake, mix)
    np.testing.assert_allclose(found, (norms - 1) ** 2, rtol=1e-4)
    w = draw(9, SHAPE[1:])
    lipschitz = linear(w / jnp.sqrt(jnp.sum(w**2)))
    np.testing.assert_allclose(penalty.gradient_penalty(lipschitz, real, fake, mix), np.zeros(8), atol=1e-10)
    zero_centred = penalty.gradient_penalty(quadratic(2.0), real, fake, mix, 0.0)
    np.testing.assert_allclose(zero_centred, norms**2, rtol=1e-5)


def test_wgan_gp_mixes_each_example_by_its_own_share_in_zero_to_one():
    shape = (4096, 1, 1)
    critic = quadratic(1.0)  # slope x, so sqrt(penalty) + 1 is the point itself where it is above 1
    four, two = (np.full(shape, value, np.float32) for value in (4.0, 2.0))
    values = jax.jit(lambda r, f: penalty.PENALTIES["wgan_gp"](critic, r, f, KEY))(four, two)
    points = np.sqrt(values) + 1
    assert 2.0 <= points.min() < 2.01
    assert 3.99 < points.max() <= 4.0
    np.testing.assert_allclose(points.mean(), 3.0, atol=0.03)


def test_dragan_is_taken_at_noisy_reals_of_half_their_deviation():
    real, noise = draw(10), draw(11)
    norms = np.sqrt(np.sum(np.square(real + noise), axis=(1, 2)))
    np.testing.assert_allclose(penalty.dragan(quadratic(1.0), real, noise), (norms - 1) ** 2, rtol=1e-4)
    wide = 20.0 + 3.0 * np.asarray(draw(12, (4096, 1, 1)))  # slope x > 1 everywhere
    values = jax.jit(lambda x: penalty.PENALTIES["dragan"](quadratic(1.0), x, x, KEY))(wide)
    moved = np.sqrt(values) + 1 - wide[:, 0, 0]
    np.testing.assert_allclose([moved.mean(), moved.std()], [0.0, 1.5], atol=0.08)


@pytest.mark.parametrize("name", NAMES)
def test_every_penalty_is_finite_in_value_and_gradient_at_flat_and_steep_critics(name):
    real, fake = draw(13), draw(14)

    @jax.jit
    def value_and_gradients(w, x):
        return jax.value_and_grad(lambda w, x: jnp.sum(penalty.PENALTIES[name](linear(w), real, x, KEY)), (0, 1))(w, x)

    for slope in (0.0, 1e-30, 100.0, 1e4):
        results = value_and_gradients(jnp.full(SHAPE[1:], slope), fake)
        assert all(np.all(np.isfinite(r)) for r in jax.tree.leaves(results)), slope


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_squared_in_float32(name):
    real, fake = draw(15).astype(jnp.bfloat16), draw(16).astype(jnp.bfloat16)
    values = jax.jit(lambda r, f: penalty.PENALTIES[name](quadratic(1.0), r, f, KEY))
    found, wide = values(real, fake), values(real.astype(jnp.float32), fake.astype(jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wide, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_draw_and_compute_what_one_does(name):
    real, fake = draw(17, (16, 3, 2)), draw(18, (16, 3, 2))

    def values(w, r, f):
        return penalty.PENALTIES[name](smooth(w), r, f, KEY)

    expected = jax.jit(values)(weights(), real, fake)
    shares = (v.reshape(8, 2, 3, 2) for v in (real, fake))
    found = jax.pmap(values, DEVICE_AXIS, in_axes=(None, 0, 0))(weights(), *shares)
    np.testing.assert_allclose(found.reshape(16), expected, rtol=1e-4, atol=1e-5)


def test_lecam_pulls_each_logit_to_the_other_sides_average():
    real, fake = draw(19, (4,)), draw(20, (4,))
    found = penalty.lecam(real, fake, jnp.float32(0.7), jnp.float32(-0.2))
    np.testing.assert_allclose(found, np.square(real + 0.2) + np.square(fake - 0.7), rtol=1e-5)
    gradient = jax.grad(lambda d: jnp.sum(penalty.lecam(d, d, jnp.float32(0.0), jnp.float32(0.0))))(
        jnp.asarray([-1e4, 100.0])
    )
    np.testing.assert_allclose(gradient, [-4e4, 400.0])


def test_moving_average_is_global_exponential_and_constant_for_gradients():
    logits = draw(21, (16,))
    one = penalty.moving_average(jnp.float32(0.5), logits)
    np.testing.assert_allclose(one, 0.99 * 0.5 + 0.01 * np.mean(logits), rtol=1e-6)
    on_eight = jax.pmap(lambda x: penalty.moving_average(jnp.float32(0.5), x), DEVICE_AXIS, out_axes=None)(
        logits.reshape(8, 2)
    )
    np.testing.assert_allclose(on_eight, one, rtol=1e-6)
    slope = jax.grad(lambda x: penalty.moving_average(jnp.float32(0.5), x))(logits)
    np.testing.assert_array_equal(slope, np.zeros(16))


def test_consistency_is_the_squared_distance_of_logits_or_features():
    one, other = draw(22), draw(23)
    expected = np.sum(np.square(one - other), axis=(1, 2))
    np.testing.assert_allclose(penalty.consistency(one, other), expected, rtol=1e-5)
    np.testing.assert_allclose(penalty.consistency(jnp.float32([1e4]), jnp.float32([0.0])), [1e8])


def test_orthogonal_counts_overlap_of_kernels_only():
    orthogonal = jax.jit(penalty.orthogonal)
    ortho = np.float32(3.0 * np.linalg.qr(draw(24, (6, 4)))[0])
    free = {"dense": {"kernel": ortho, "bias": np.ones(4)}, "embed": {"embedding": np.ones((3, 4))}}
    np.testing.assert_allclose(orthogonal(free), 0.0, atol=1e-9)
    kernel = draw(25, (3, 3, 2, 4))
    columns = np.asarray(kernel, np.float64).reshape(18, 4)
    expected = sum((columns[:, i] @ columns[:, j]) ** 2 for i in range(4) for j in range(4) if i != j)
    np.testing.assert_allclose(orthogonal({"conv": {"kernel": kernel}}), expected, rtol=1e-5)
    slope = jax.jit(jax.grad(orthogonal))({"conv": {"kernel": kernel}})["conv"]["kernel"]
    off = columns.T @ columns - np.diag(np.sum(columns**2, 0))
    np.testing.assert_allclose(np.reshape(slope, (18, 4)), 4 * columns @ off, rtol=1e-4)
