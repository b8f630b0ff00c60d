"""The learned prior: undone exactly, its volume that of the Jacobian, at first standard normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.models.coupling import MAX_LOG_SCALE, Coupling

SIZE, LAYERS = 5, 6
FLOW = Coupling(SIZE, LAYERS, 8)
NOISE = jax.random.normal(jax.random.key(1), (3, SIZE))


def variables(scale):
    first = FLOW.init(jax.random.key(0), NOISE)
    leaves, tree = jax.tree.flatten(first)
    drawn = [scale * jax.random.normal(jax.random.key(i), leaf.shape) for i, leaf in enumerate(leaves)]
    return first, jax.tree.unflatten(tree, drawn)


def test_it_begins_as_a_standard_normal():
    first, _ = variables(0.0)
    np.testing.assert_array_equal(FLOW.apply(first, NOISE, method="bend"), NOISE)
    noise, volume = FLOW.apply(first, NOISE)
    np.testing.assert_array_equal(noise, NOISE)
    np.testing.assert_array_equal(volume, 0.0)


def test_it_is_undone_and_its_volume_is_the_jacobians():
    _, bent = variables(0.5)
    f = FLOW.apply(bent, NOISE, method="bend")
    noise, volume = FLOW.apply(bent, f)
    np.testing.assert_allclose(noise, NOISE, atol=1e-4)
    jacobian = jax.vmap(jax.jacobian(lambda f: FLOW.apply(bent, f[None])[0][0]))(f)
    np.testing.assert_allclose(volume, np.linalg.slogdet(np.asarray(jacobian))[1], atol=1e-4)
    assert (jacobian != 0).all(), "every number of the noise depends on every one of f"


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_it_is_finite_at_extremes(size):
    _, bent = variables(30.0)
    noise, volume = FLOW.apply(bent, size * NOISE)
    assert np.isfinite(volume).all() and (abs(volume) <= MAX_LOG_SCALE * LAYERS * SIZE).all()
    assert np.isfinite(noise).all()
    gradient = jax.grad(lambda p: jnp.sum(FLOW.apply(p, size * NOISE)[1]))(bent)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
