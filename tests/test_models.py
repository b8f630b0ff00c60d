"""Every model for arrays of every shape, and what each promises of its layers."""

import functools
import importlib
import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough
from small import small_networks

from genjax_art import models, parts
from genjax_art.errors import UsageError
from genjax_art.models import dcgan, mlp_vae
from genjax_art.models.layers import BatchNorm, Conv, ConvTranspose, coarsest, crop, into_range, one_hot, pyramid
from genjax_art.music.notes import PITCHES
from genjax_art.spec import ArraySpec

CLASSES = ("a", "b", "c")
SPECS = {
    "28x28x1": ArraySpec((28, 28, 1), classes=CLASSES),
    "30x44x3": ArraySpec((30, 44, 3), 0.0, 1.0, classes=CLASSES),
    "64x64x4": ArraySpec((64, 64, 4), classes=CLASSES),
    "sequence": ArraySpec((50, 2), classes=CLASSES),
    "clip": ArraySpec((3, 9, 12, 3), kind="clip", classes=CLASSES),
    "tiny": ArraySpec((2, 1, 1), classes=CLASSES),
    "roll": ArraySpec((32, PITCHES, 8), kind="roll"),
    "points": ArraySpec((2,), -9.0, 9.0, "points", CLASSES, bounded=False),
}
UNBOUNDED = ("r3gan",)  # ends in a convolution, as its paper's does
KEY = jax.random.key(0)


def built(name, spec):
    """The networks of a model, conditional if it can be; None where it refuses such arrays, in one line."""
    build = importlib.import_module(f"{models.__name__}.{name}").build
    options = {"conditional": True} if "conditional" in inspect.signature(build).parameters and spec.classes else {}
    try:
        return small_networks(name, spec, **options)
    except UsageError as error:
        assert "\n" not in str(error) and name in str(error)
        return None


def outputs(network, *inputs, train=True):
    """What a fresh network makes of its inputs."""
    variables = jax.jit(network.init)(KEY, *inputs)
    apply = functools.partial(network.apply, train=train, mutable=["batch_stats", "spectral"])
    return jax.jit(apply)(variables, *inputs)[0]


def label_of(network, rows=2):
    return jnp.arange(rows, dtype=jnp.int32) if getattr(network, "classes", 0) else None


def latents_of(network, rows=2, scale=1.0):
    """Latents of a generator or decoder: drawn as it says itself, or so many numbers."""
    if hasattr(network, "draw"):
        return jax.tree.map(lambda z: scale * z, network.draw(jax.random.normal, KEY, rows))
    return scale * jax.random.normal(KEY, (rows, network.latents))


def is_plain(network):
    """Called as (z or x, label, train)."""
    return list(inspect.signature(type(network).__call__).parameters)[2:] == ["label", "train"]


def shapes_of(networks, spec):
    """Shapes of what generator, discriminator, encoder and decoder give for two examples; nothing is computed."""
    x, shapes = jnp.zeros((2, *spec.shape)), {}
    for role, network in networks.items():
        if is_plain(network):
            first = latents_of(network) if role in ("generator", "decoder") else x
            made = jax.eval_shape(lambda first, network=network: outputs(network, first, label_of(network)), first)
            shapes[role] = jax.tree.map(lambda array: array.shape, made)
    return shapes


@pytest.mark.parametrize("name", parts.names(models))
def test_every_model_fits_arrays_of_every_shape(name):
    fits = 0
    for case, spec in SPECS.items():
        networks = built(name, spec)
        try:
            shapes = {} if networks is None else shapes_of(networks, spec)
        except UsageError as error:
            assert spec.kind == "points" and "need arrays with spatial axes" in str(error)
            continue
        fits += networks is not None
        if "generator" in shapes:
            assert shapes["generator"] == (2, *spec.shape), case
        if "discriminator" in shapes:
            assert shapes["discriminator"]["logits"] == (2,), case
            assert len(shapes["discriminator"]["features"]) == 2, case
        if "encoder" in shapes:
            assert shapes["encoder"] == ((2, (networks.get("decoder") or networks["generator"]).latents),) * 2, case
        if "decoder" in shapes:
            assert shapes["decoder"] == (2, *spec.shape), case
    assert fits > 0, f"{name} fits none of the shapes: add one that it fits"


@pytest.mark.parametrize("name", parts.names(models))
@pytest.mark.parametrize("case", ["clip", *thorough("30x44x3")])
def test_fresh_networks_give_numbers_in_range(name, case):
    spec = ArraySpec((*(min(n, 9) for n in SPECS[case].space), 3), 0.0, 1.0, SPECS[case].kind, CLASSES)
    networks = built(name, spec)
    if networks is None:
        pytest.skip(f"{name} refuses them")
    noise = jax.random.normal(KEY, (2, *spec.shape))
    for role, network in networks.items():
        if not is_plain(network):
            continue
        first = latents_of(network, scale=3.0) if role in ("generator", "decoder") else noise
        made = jax.jit(lambda first, network=network: outputs(network, first, label_of(network)))(first)
        assert all(np.isfinite(array).all() and np.ptp(array) > 0 for array in jax.tree.leaves(made)), role
        if role == "generator" and name not in UNBOUNDED:
            assert made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize("name", [name for name in parts.names(models) if built(name, SPECS["28x28x1"])])
def test_conditional_models_look_at_the_label(name):
    networks = built(name, ArraySpec((8, 6, 1), classes=CLASSES))
    for role, network in networks.items():
        if not getattr(network, "classes", 0) or role == "discriminator":
            continue  # a projection discriminator starts with no opinion on labels
        first = jnp.ones((3, network.latents)) if role in ("generator", "decoder") else jnp.ones((3, 8, 6, 1))
        made = outputs(network, first, label_of(network, 3), train=False)
        made = made[0] if isinstance(made, tuple) else made
        assert np.abs(made[0] - made[1]).max() > 1e-6, role


def parameters_of(network, *inputs):
    variables = jax.eval_shape(lambda: jax.jit(network.init)(KEY, *inputs))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }


def test_dcgan_is_that_of_the_case_study():
    """G: dense to 7x7x128, two 5x5 stride-2 transposed convolutions, one 5x5 convolution; D: three, dense 1."""
    networks = dcgan.build(ArraySpec((28, 28, 1)))
    assert parameters_of(networks["generator"], jnp.zeros((2, 100))) == {
        "Dense_0/kernel": (100, 7 * 7 * 128),
        "Dense_0/bias": (7 * 7 * 128,),
        "ConvTranspose_0/kernel": (5, 5, 128, 128),
        "ConvTranspose_0/bias": (128,),
        "ConvTranspose_1/kernel": (5, 5, 128, 128),
        "ConvTranspose_1/bias": (128,),
        "Conv_0/kernel": (5, 5, 128, 1),
        "Conv_0/bias": (1,),
    }
    assert parameters_of(networks["discriminator"], jnp.zeros((2, 28, 28, 1))) == {
        "Conv_0/kernel": (5, 5, 1, 128),
        "Conv_0/bias": (128,),
        "Conv_1/kernel": (5, 5, 128, 128),
        "Conv_1/bias": (128,),
        "Conv_2/kernel": (5, 5, 128, 128),
        "Conv_2/bias": (128,),
        "Dense_0/kernel": (4 * 4 * 128, 1),
        "Dense_0/bias": (1,),
    }


def test_under_batch_statistics_there_is_no_bias():
    """It would have no effect, and an optimizer that normalises gradients would walk it at random."""
    networks = dcgan.build(ArraySpec((28, 28, 1)), generator_norm="batch", discriminator_norm="batch")
    generator = parameters_of(networks["generator"], jnp.zeros((2, 100)))
    assert {name for name in generator if name.endswith("/bias")} == {
        "Conv_0/bias",  # the last one, which makes the picture
        *(f"BatchNorm_{i}/bias" for i in range(3)),
    }
    discriminator = parameters_of(networks["discriminator"], jnp.zeros((2, 28, 28, 1)))
    assert "Conv_0/bias" in discriminator and "Conv_1/bias" not in discriminator  # the first has no statistics


def test_mlp_vae_is_784_400_20():
    networks = mlp_vae.build(ArraySpec((28, 28, 1)))
    kernels = [
        parameters_of(networks[role], x)
        for role, x in (("encoder", jnp.zeros((2, 28, 28, 1))), ("decoder", jnp.zeros((2, 20))))
    ]
    sizes = [[shape for name, shape in kernel.items() if name.endswith("kernel")] for kernel in kernels]
    assert sizes == [[(784, 400), (400, 20), (400, 20)], [(20, 400), (400, 784)]]


def test_pyramid_halves_every_axis_down_to_the_bound():
    assert pyramid((28, 28), above=7) == ((2, 2), (2, 2))
    assert pyramid((28, 28), above=4) == ((2, 2), (2, 2), (2, 2))
    assert pyramid((64, 8), above=7) == ((2, 2), (2, 1), (2, 1), (2, 1))
    assert pyramid((4,), above=7) == ()
    assert coarsest((30, 45), ((2, 2), (2, 2))) == (8, 12)
    assert coarsest((30, 45), ()) == (30, 45)


def test_crop_and_range():
    x = jnp.arange(24.0).reshape(1, 4, 6, 1)
    np.testing.assert_array_equal(crop(x, (3, 5)), x[:, :3, :5])
    y = jnp.asarray([[-100.0], [0.0], [100.0]])
    np.testing.assert_allclose(into_range(y, ArraySpec((1,), 2.0, 6.0)), [[2], [4], [6]])
    np.testing.assert_array_equal(into_range(y, ArraySpec((1,), bounded=False)), y)


def test_one_hot():
    np.testing.assert_array_equal(one_hot(jnp.asarray([2, 0, 5]), 3), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(("size", "stride"), [((9, 6), 2), ((8,), 1), ((4, 5, 6), 2)])
def test_convolutions_are_those_of_flax(size, stride):
    """Same parameters by name and shape, same numbers."""
    rank = len(size)
    x = jax.random.normal(KEY, (2, *size, 3))
    for ours, theirs in (
        (Conv(4, 3, stride), nn.Conv(4, (3,) * rank, (stride,) * rank)),
        (ConvTranspose(4, 4, stride), nn.ConvTranspose(4, (4,) * rank, (stride,) * rank)),
    ):
        variables = theirs.init(KEY, x)
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, ours.init(KEY, x))
        np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_that_of_flax(affine):
    x = 3.0 + 2.0 * jax.random.normal(KEY, (64, 5, 2))
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, use_bias=affine, use_scale=affine)
    ours, variables = BatchNorm(affine=affine), theirs.init(KEY, x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, ours.init(KEY, x, True))

    def of_flax(x):
        return theirs.apply(variables, x, mutable=["batch_stats"])

    def of_us(x):
        return ours.apply(variables, x, True, mutable=["batch_stats"])

    def slope_and_results(normalise):
        def loss(x):
            y, stats = normalise(x)
            return jnp.sum(y**3), (y, stats)

        return jax.tree.leaves(jax.grad(loss, has_aux=True)(x))

    for a, b in zip(slope_and_results(of_us), slope_and_results(of_flax), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_batch_norm_normalises_and_remembers():
    x = 3.0 + 2.0 * jax.random.normal(KEY, (64, 5, 2))
    norm = BatchNorm()
    variables = norm.init(KEY, x, True)
    y, updated = norm.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(np.mean(y, (0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(np.var(y, (0, 1)), 1, atol=1e-3)
    mean = updated["batch_stats"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * np.mean(x, (0, 1)), rtol=1e-4)  # from 0, at a momentum of 0.9
    still = norm.apply({**variables, **updated}, x, False)
    assert np.abs(still - y).max() > 0.5  # at rest it uses what it remembers
