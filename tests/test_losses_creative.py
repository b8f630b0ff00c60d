"""Style ambiguity, entropy and code losses: exact sums where float64 suffices, finiteness beyond."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.losses import creative

AMBIGUITIES = [creative.style_ambiguity, creative.binary_style_ambiguity]


def _first_label(logits):
    return creative.label_cross_entropy(logits, jnp.zeros(len(logits), jnp.int32))


FUNCTIONS = [*AMBIGUITIES, creative.style_entropy, creative.normalised_style_entropy, _first_label]
BY_LOGITS = {f.__name__: jax.jit(f) for f in FUNCTIONS}  # one compilation instead of one for each operation


def _log_softmax(logits):
    return logits - np.log(np.sum(np.exp(logits), -1, keepdims=True))


def _entropy(logits):
    p = np.exp(_log_softmax(logits))
    return -np.sum(p * np.log(p), -1)


def _binary(logits):
    p, k = np.exp(_log_softmax(logits)), logits.shape[-1]
    return -np.sum(np.log(p) / k + (1 - 1 / k) * np.log(1 - p), -1)


ORACLES = {
    "style_ambiguity": lambda logits: -np.mean(_log_softmax(logits), -1),
    "binary_style_ambiguity": _binary,
    "style_entropy": _entropy,
    "normalised_style_entropy": lambda logits: _entropy(logits) / math.log(logits.shape[-1]),
    "_first_label": lambda logits: -_log_softmax(logits)[:, 0],
}


@pytest.mark.parametrize("name", sorted(BY_LOGITS))
@pytest.mark.parametrize("classes", [2, 10])
def test_value_is_the_sum_as_printed(name, classes):
    logits = 2.0 * np.random.default_rng(0).normal(size=(16, classes))
    np.testing.assert_allclose(BY_LOGITS[name](jnp.asarray(logits, jnp.float32)), ORACLES[name](logits), rtol=2e-5)


@pytest.mark.parametrize("name", sorted(BY_LOGITS))
def test_gradient_is_the_finite_difference(name):
    with jax.enable_x64(True):
        logits = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))

        def total(x):
            return jnp.sum(BY_LOGITS[name](x))

        moves = 1e-6 * jnp.eye(12).reshape(12, 3, 4)
        numeric = jax.jit(jax.vmap(lambda e: (total(logits + e) - total(logits - e)) / 2e-6))(moves)
        np.testing.assert_allclose(jax.jit(jax.grad(total))(logits).ravel(), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", sorted(BY_LOGITS))
def test_value_and_gradient_are_finite_at_extreme_logits(name, dtype):
    rows = [[s, 0.0, 0.0, 0.0] for s in (-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4)]
    rows += [[s, s, -s, -s] for s in (30.0, 100.0, 1e4)]
    logits = jnp.asarray(rows, dtype)
    value = BY_LOGITS[name](logits)
    assert value.dtype == jnp.float32
    slope = jax.jit(jax.grad(lambda x: jnp.sum(BY_LOGITS[name](x))))(logits).astype(jnp.float32)
    assert bool(jnp.all(jnp.isfinite(value)))
    assert bool(jnp.all(jnp.isfinite(slope)))


@pytest.mark.parametrize("size", [30.0, 100.0, 1e4])
def test_binary_ambiguity_of_a_sure_head_is_its_asymptote(size):
    """One logit s, K - 1 zeros: -log p_j = s for the others, -log(1 - p_1) = s - log(K - 1), the rest 0."""
    k = 5
    logits = jnp.zeros((1, k)).at[0, 0].set(size)
    expected = (k - 1) / k * size + (1 - 1 / k) * (size - math.log(k - 1))
    value, slope = jax.jit(jax.value_and_grad(lambda x: creative.binary_style_ambiguity(x)[0]))(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    per_other = -1 / k - (1 - 1 / k) / (k - 1)
    np.testing.assert_allclose(slope, [[2 * (1 - 1 / k)] + [per_other] * (k - 1)], rtol=1e-5)


@pytest.mark.parametrize("loss", AMBIGUITIES)
def test_ambiguity_is_least_where_every_style_is_equally_likely(loss):
    loss = BY_LOGITS[loss.__name__]
    clueless = jnp.full((1, 7), 3.0)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda x: loss(x)[0]))(clueless), np.zeros((1, 7)), atol=1e-6)
    others = jnp.asarray(np.random.default_rng(2).normal(size=(64, 7)), jnp.float32)
    assert bool(jnp.all(loss(others) > loss(clueless)[0]))
    slopes = jax.jit(jax.grad(lambda x: jnp.sum(loss(x))))(others)
    downhill = loss(others - 0.05 * slopes)
    assert bool(jnp.all(BY_LOGITS["style_entropy"](others - 0.05 * slopes) > BY_LOGITS["style_entropy"](others)))
    assert bool(jnp.all(downhill < loss(others)))


def test_ambiguity_and_entropy_of_a_clueless_head():
    logits = jnp.zeros((2, 10))
    np.testing.assert_allclose(BY_LOGITS["style_ambiguity"](logits), np.full(2, math.log(10)), rtol=1e-6)
    np.testing.assert_allclose(BY_LOGITS["style_entropy"](logits), np.full(2, math.log(10)), rtol=1e-6)
    np.testing.assert_allclose(BY_LOGITS["normalised_style_entropy"](logits), np.ones(2), rtol=1e-6)
    binary = math.log(10) + 9 * -math.log(0.9)  # 10 questions of entropy H(1/10)
    np.testing.assert_allclose(BY_LOGITS["binary_style_ambiguity"](logits), np.full(2, binary), rtol=1e-6)
    sure = jnp.asarray([[100.0, 0.0]])
    np.testing.assert_allclose(BY_LOGITS["style_entropy"](sure), [0.0], atol=1e-6)


def test_ambiguity_of_ties_counts_every_class_once():
    logits = jnp.asarray([[4.0, 4.0, 0.0]])
    np.testing.assert_allclose(
        BY_LOGITS["binary_style_ambiguity"](logits), _binary(np.asarray(logits, np.float64)), rtol=1e-5
    )


def test_one_style_is_refused():
    with pytest.raises(ValueError, match="2 or more"):
        creative.binary_style_ambiguity(jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="2 or more"):
        creative.normalised_style_entropy(jnp.zeros((2, 1)))


def test_label_cross_entropy_picks_the_label():
    logits = jnp.log(jnp.asarray([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    found = creative.label_cross_entropy(logits, jnp.asarray([1, 2]))
    np.testing.assert_allclose(found, -np.log([0.3, 0.8]), rtol=1e-6)


def test_gaussian_code_loss_is_minus_the_log_density():
    mean, code, log_scale = np.random.default_rng(3).normal(size=(3, 5, 2))
    scale = np.exp(log_scale)
    density = np.exp(-0.5 * ((code - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    arguments = [jnp.asarray(a, jnp.float32) for a in (mean, code, log_scale)]
    np.testing.assert_allclose(jax.jit(creative.gaussian_code_loss)(*arguments), -np.sum(np.log(density), 1), rtol=2e-5)
    unit = jax.jit(creative.gaussian_code_loss)(*arguments[:2], jnp.float32(0.0))
    np.testing.assert_allclose(unit, 0.5 * np.sum((code - mean) ** 2, 1) + math.log(2 * math.pi), rtol=1e-5)
    far = [jnp.full((1, 2), s) for s in (1e4, -1e4, -100.0)]
    slope = jax.jit(jax.grad(lambda *a: jnp.sum(creative.gaussian_code_loss(*a)), (0, 2)))(*far)
    assert all(bool(jnp.all(jnp.isfinite(s))) for s in slope)
