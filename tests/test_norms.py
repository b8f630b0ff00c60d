"""Norms by label and by singular value, in the networks that offer them."""

import dataclasses

import flax.linen as nn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from small import small_networks

from genjax_art.errors import UsageError
from genjax_art.models.norms import ConditionalBatchNorm, LayerNorm, MinibatchDeviation, spectral
from genjax_art.shards import DEVICE_AXIS
from genjax_art.spec import ArraySpec

KEY = jax.random.key(0)
SPECS = {
    "image": ArraySpec((8, 8, 1), classes=("a", "b", "c")),
    "roll": ArraySpec((8, 12, 2), 0.0, 1.0, "roll", ("a", "b", "c")),
    "clip": ArraySpec((4, 6, 6, 1), kind="clip", classes=("a", "b", "c")),
}
LABEL = jnp.asarray([0, 1, 2, 1], jnp.int32)


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_conditional_batch_norm_scales_and_shifts_the_normalised_by_label():
    x = 3.0 + 2.0 * jax.random.normal(KEY, (4, 5, 2))
    norm = ConditionalBatchNorm(3)
    variables = norm.init(KEY, x, LABEL, True)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), variables["params"])
    y, _ = norm.apply({**variables, "params": params}, x, LABEL, True, mutable=["batch_stats"])
    normal = (x - np.mean(x, (0, 1), keepdims=True)) / np.sqrt(np.var(x, (0, 1), keepdims=True) + 1e-5)
    gain, bias = (np.asarray(params[name]["embedding"])[LABEL][:, None] for name in ("gain", "bias"))
    np.testing.assert_allclose(y, gain * normal + bias, atol=1e-4)


def test_spectral_norm_finds_the_largest_singular_value():
    """Of each weight of the discriminator, as a matrix of one column a filter, after some power iterations."""
    spec = SPECS["image"]
    network = small_networks("dcgan", spec, width=3, discriminator_norm="spectral", conditional=True)["discriminator"]
    x = jax.random.normal(KEY, (4, *spec.shape))
    variables = jax.jit(network.init)(KEY, x, LABEL)
    assert set(variables) == {"params", "spectral"}
    params = jax.tree.map(lambda leaf: 5 * leaf, variables["params"])
    apply = jax.jit(lambda stats: network.apply({"params": params, "spectral": stats}, x, LABEL, mutable=["spectral"]))
    stats = variables["spectral"]
    for _ in range(60):
        _, new = apply(stats)
        stats = new["spectral"]
    found = sorted(float(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(stats) if leaf.ndim == 0)
    matrices = [np.reshape(leaf, (-1, leaf.shape[-1])) for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    expected = sorted(np.linalg.norm(matrix, 2) for matrix in matrices)
    assert len(found) == 3  # the convolution, the last layer and the labels' embedding
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-3, 1.0, 1e15])
def test_spectral_norm_is_finite_at_any_scale_of_the_weights(scale):
    class One(nn.Module):
        @nn.compact
        def __call__(self, x):
            return spectral(nn.Dense(3), x, True)

    x = jnp.ones((2, 4))
    variables = One().init(KEY, x)
    params = jax.tree.map(lambda leaf: scale * leaf, variables["params"])

    def total(params):
        y, _ = One().apply({**variables, "params": params}, x, mutable=["spectral"])
        return jnp.sum(y**2)

    value, slope = jax.value_and_grad(total)(params)
    assert np.isfinite(float(value)) and np.isfinite(jax.flatten_util.ravel_pytree(slope)[0]).all()
    assert scale < 1e-10 or 0.01 < float(value) < 100


@pytest.mark.parametrize("kind", ["image", *thorough("roll", "clip")])
def test_dcgan_with_conditional_batch_norm_makes_each_class_by_its_gains(kind):
    """Label and nothing else differs; without labels it is the plain batch norm, under the plain names."""
    spec = SPECS[kind]
    generator = small_networks("dcgan", spec, width=4, conditional=True, generator_norm="conditional_batch")[
        "generator"
    ]
    z = jnp.ones((4, generator.latents))
    variables = jax.jit(generator.init)(KEY, z, LABEL)
    assert not any("Dense" in path and "bias" in path for path in paths(variables["params"]))
    (dense,) = (leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]) if "Dense" in str(path))
    assert dense.shape[0] == generator.latents  # the label is not beside z
    made, _ = generator.apply(variables, z, LABEL, mutable=["batch_stats"])
    assert made.shape == (4, *spec.shape)
    assert np.abs(made[1] - made[3]).max() < 1e-5 and np.abs(made[0] - made[1]).max() > 1e-6
    plain = dataclasses.replace(generator, classes=0)
    stats = jax.jit(plain.init)(KEY, z, None)["batch_stats"]
    assert all("BatchNorm_0" in path for path in paths(stats))


@pytest.mark.parametrize("shape", [(8, 3), (8, 4, 2), (8, 2, 3, 2), (8, 2, 2, 3, 1)])
def test_minibatch_deviation_is_the_mean_deviation_of_each_group(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x[4:] = x[4]  # the second group is all alike
    apply = jax.jit(lambda x: MinibatchDeviation(4).apply({}, x))
    y = np.asarray(apply(jnp.asarray(x)))
    np.testing.assert_array_equal(y[..., :-1], x)
    np.testing.assert_allclose(y[:4, ..., -1], np.mean(np.std(np.float64(x[:4]), axis=0)), rtol=1e-4)
    np.testing.assert_allclose(y[4:, ..., -1], 1e-4, rtol=1e-3)  # the root of the epsilon: its slope is finite
    slope = jax.jit(jax.grad(lambda x: jnp.sum(apply(x)[..., -1])))(jnp.asarray(x))
    assert np.isfinite(slope).all() and np.abs(slope[:4]).max() > 0.01
    far = apply(jnp.asarray(1e4 * x))
    np.testing.assert_allclose(far[:4, ..., -1], 1e4 * y[:4, ..., -1], rtol=1e-4)


def test_minibatch_deviation_is_the_same_on_eight_devices():
    x = jax.random.normal(KEY, (32, 5, 2))
    layer = MinibatchDeviation(4)
    found = jax.pmap(lambda x: layer.apply({}, x), DEVICE_AXIS)(x.reshape(8, 4, 5, 2))
    np.testing.assert_allclose(found.reshape(32, 5, 3), jax.jit(lambda x: layer.apply({}, x))(x), rtol=1e-5)


@pytest.mark.parametrize("model", ["mlp", "dcgan", *thorough("resnet", "r3gan")])
def test_a_discriminator_with_minibatch_deviation_sees_that_examples_are_alike(model):
    """Its logit for an example depends on the rest of its group, and on nothing beyond it."""
    spec = SPECS["image"]
    network = small_networks(model, spec, minibatch_deviation=4)["discriminator"]
    x = jax.random.normal(KEY, (8, *spec.shape))
    variables = jax.jit(network.init)(KEY, x)
    apply = jax.jit(lambda x: network.apply(variables, x, None, False, mutable=["spectral"])[0]["logits"])
    varied, alike = apply(x), apply(x.at[1:4].set(x[0]))
    assert abs(float(varied[0] - alike[0])) > 1e-4
    np.testing.assert_array_equal(varied[4:], alike[4:])
    with pytest.raises(UsageError, match="groups of 4 needs a multiple of that on each device"):
        network.apply(variables, x[:6], mutable=["spectral"])


@pytest.mark.parametrize(("shape", "bias"), [((4, 3, 5), True), ((6, 2), False)])
def test_layer_norm_is_that_of_flax(shape, bias):
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), shape)
    flax, ours = nn.LayerNorm(use_bias=bias), LayerNorm(bias)
    variables = ours.init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, flax.init(jax.random.key(1), x))
    changed = jax.tree.map(lambda p: p + jnp.arange(float(shape[-1])), variables)
    np.testing.assert_allclose(ours.apply(changed, x), flax.apply(changed, x), atol=1e-5)
    constant = jnp.full(shape, 1e30)
    assert np.isfinite(ours.apply(changed, constant)).all()
