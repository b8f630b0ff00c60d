"""Inception v3 by parts, against NumPy; weights that do not fit; what is measured by its classes."""

import inspect
import math
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from genjax_art.data.contract import array_source
from genjax_art.errors import RunError, UsageError
from genjax_art.features import inception_v3
from genjax_art.features.extractor import Extractor, build_extractor
from genjax_art.features.inception_network import InceptionV3, half_pool, max_pool, mean_pool, resized
from genjax_art.features.seeing import see
from genjax_art.media.image import on_white, to_uint8
from genjax_art.metrics import classes, panel
from genjax_art.metrics.subject import Subject
from genjax_art.spec import ArraySpec

RNG = np.random.default_rng(0)
PICTURE = jax.ShapeDtypeStruct((2, 32, 48, 3), np.float32)


@pytest.mark.parametrize("size", [(5, 7), (11, 4), (23, 30), (1, 1)])
def test_resize_is_that_of_tensorflow_1(size):
    side, x = 11, RNG.uniform(0, 255, (2, *size, 3)).astype(np.float32)
    expected = np.zeros((2, side, side, 3))
    for i, j in np.ndindex(side, side):
        (top, left), (h, w) = (i * size[0] / side, j * size[1] / side), size
        for a, b in ((a, b) for a in (0, 1) for b in (0, 1)):
            row, column = math.floor(top) + a, math.floor(left) + b
            share = (1 - abs(top - row)) * (1 - abs(left - column))
            expected[:, i, j] += share * x[:, min(row, h - 1), min(column, w - 1)]
    np.testing.assert_allclose(resized(jnp.asarray(x), side), expected, rtol=1e-5, atol=1e-4)


def test_resize_of_a_ramp_and_of_a_picture_of_its_size():
    ramp = np.broadcast_to(np.arange(20.0, dtype=np.float32)[:, None, None], (1, 20, 6, 1))
    found = np.asarray(resized(jnp.asarray(ramp)))
    np.testing.assert_allclose(found[0, :, 7, 0], np.minimum(np.arange(299) * 20 / 299, 19), rtol=1e-6)
    x = RNG.uniform(0, 255, (1, 299, 299, 1)).astype(np.float32)
    np.testing.assert_array_equal(resized(jnp.asarray(x)), x)


def test_pools_see_only_pixels_that_there_are():
    x = RNG.standard_normal((2, 6, 5, 3)).astype(np.float32) - 9  # below 0: a zero beside the picture would show
    means, largest, halved = (np.asarray(pool(jnp.asarray(x))) for pool in (mean_pool, max_pool, half_pool))
    for i, j in np.ndindex(6, 5):
        near = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        np.testing.assert_allclose(means[:, i, j], near.mean((1, 2)), rtol=1e-6)
        np.testing.assert_array_equal(largest[:, i, j], near.max((1, 2)))
    assert halved.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(halved[:, 1, 0], x[:, 2:5, 0:3].max((1, 2)))


@cache
def shapes():
    """Of the variables, of the results, and of what the modules give in between."""

    def watched(key, x):
        variables = InceptionV3().init(key, x)
        found = InceptionV3().apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        return variables, *found

    return jax.eval_shape(watched, jax.random.key(0), PICTURE)


def test_the_network_has_the_known_size():
    variables, found, between = shapes()
    # Keras has 21,802,784 numbers in this network without its head and without the gains of batch normalisation
    gains = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"])) // 2
    head = 2048 * 1008
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 21_802_784 + gains + head
    assert {name: leaf.shape for name, leaf in found.items()} == {"features": (2, 2048), "logits": (2, 1008)}
    blocks = {"5b": (35, 256), "5c": (35, 288), "5d": (35, 288), "6a": (17, 768), "6e": (17, 768), "7a": (8, 1280)}
    for name, (side, width) in {**blocks, "7b": (8, 2048), "7c": (8, 2048)}.items():
        (given,) = between["intermediates"][f"Mixed_{name}"]["__call__"]
        assert given.shape == (2, side, side, width)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0)])
def test_levels_are_those_of_a_picture_file(channels, low, high):
    spec = ArraySpec((16, 16, channels), low=low, high=high)
    x = RNG.uniform(low - 0.1, high + 0.1, (8, *spec.shape)).astype(np.float32)
    if channels == 4:
        x[..., 3] = np.where(x[..., 3] > 0.9 * high, high, x[..., 3])
    found = np.asarray(inception_v3.levels(jnp.asarray(x), spec))
    np.testing.assert_array_equal(found, np.broadcast_to(on_white(to_uint8(x, spec)), (8, 16, 16, 3)))


def checkpoint(**changed):
    """Tensors of the well-known names and shapes, all zeros without memory of their own."""
    zero, found = np.zeros((), np.float32), {}
    for path, leaf in flatten_dict(shapes()[0], sep="/").items():
        *modules, last = path.split("/")[1:]
        name = ".".join([*modules, {"kernel": "weight", "scale": "weight", "mean": "running_mean"}.get(last, last)])
        shape = leaf.shape if last != "kernel" else (leaf.shape[-1], leaf.shape[-2], *leaf.shape[:-2])
        found[name.replace(".var", ".running_var")] = np.broadcast_to(zero, shape)
    found |= {name.replace("__", "."): array for name, array in changed.items()}
    return {name: array for name, array in found.items() if array is not None}


def test_tensors_go_to_their_places():
    kernel = RNG.standard_normal((64, 48, 5, 5)).astype(np.float16)
    place = "Mixed_5b.branch5x5_2.conv.weight"
    found = inception_v3.from_checkpoint(checkpoint(**{place: kernel, "fc.bias": np.zeros(3)}), Path("x.pth"))
    ours = found["params/Mixed_5b/branch5x5_2/conv/kernel"]
    assert ours.dtype == np.float32 and ours.shape == (5, 5, 48, 64)
    assert ours[1, 4, 30, 2] == kernel[2, 30, 1, 4]
    assert found["params/fc/kernel"].shape == (2048, 1008)
    names = set(checkpoint())
    assert len(names) == 94 * 5 + 1 and "Mixed_7c.branch3x3dbl_3b.bn.running_var" in names


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("Mixed_6a.branch3x3.conv.weight", None, r"lacks Mixed_6a\S+weight, of shape \(384, 288, 3, 3\)"),
        ("fc.weight", np.zeros((1000, 2048), np.float32), r"shape \(1000, 2048\), expected floats of \(1008, 2048\)"),
        (
            "Conv2d_1a_3x3.bn.bias",
            np.zeros(32, np.int64),
            r"bias as int64 of shape \(32,\), expected floats of \(32,\)",
        ),
        ("Conv2d_1a_3x3.bn.bias", np.full(32, np.nan, np.float32), "not finite"),
        ("Conv2d_1a_3x3.bn.running_var", np.full(32, -1, np.float32), "variances below 0"),
    ],
)
def test_weights_of_another_network_are_refused(name, array, message):
    with pytest.raises(RunError, match=r"^x\.pth .*" + message):
        inception_v3.from_checkpoint(checkpoint(**{name: array}), Path("x.pth"))


def test_what_is_no_picture_is_refused_before_the_file_is_read():
    for shape in ((2,), (4, 8, 8, 3), (8, 8, 2)):
        data = array_source(np.zeros((4, *shape), np.float32))
        with pytest.raises(UsageError, match="sees pictures of 1, 3 or 4 channels"):
            build_extractor("inception_v3", data, data, weights=Path("nothing"))
    data = array_source(np.zeros((4, 8, 8, 3), np.float32))
    with pytest.raises(RunError, match="nothing cannot be read"):
        build_extractor("inception-v3", data, data, weights=Path("nothing"))
    assert list(inspect.signature(inception_v3.build).parameters) == ["known", "held", "weights"]


@pytest.mark.parametrize("meaning", ["labels", "ImageNet"])
def test_of_other_classes_than_the_labels_only_the_inception_score_is_taken(meaning):
    def apply(x):
        return {"features": x, "logits": 3 * x @ jnp.asarray([[1.0, -1, 0], [0, 1, -1]])}

    label = np.arange(200, dtype=np.int32) % 3
    data = [array_source(RNG.uniform(-1, 1, (200, 2)).astype(np.float32), label, classes=tuple("abc")) for _ in "hk"]
    extractor = Extractor("a", 1, "no", apply, {}, called={"IS": "IS"}, classes=meaning)

    class Run:
        def labels(self, n, seed):
            return None

    made = RNG.uniform(-1, 1, (200, 2)).astype(np.float32)

    def look():
        return see(extractor, made, *data, lambda x: x)

    subject = Subject(data[0].spec, made, *data, in_range=lambda x: x, run=Run(), look=look)
    found = subject.once(classes.measure)
    ours = {"style_entropy", "modes", "class_divergence"} if meaning == "labels" else set()
    assert found.keys() == {"IS"} | ours
    assert 1 < found["IS"].samples.value < 3
    reading = subject.once(panel.measure)["panel"]["samples"]
    assert (reading["style_entropy"] is None) == (not ours)
