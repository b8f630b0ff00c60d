"""Inception v3 with the layers of the graph that FIDs are computed by: TensorFlow, 2015-12-05.

Szegedy et al. 2016, arXiv:1512.00567. It differs from the published network: average pools leave the padding out, the
last block has a maximum pool in its place, there is no auxiliary head, and there are 1,008 classes. Modules have the
names of the well-known PyTorch checkpoints.
"""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIDE = 299  # pixels, to which pictures are brought
CLASSES = 1008
Image = Float[Array, "b _ _ _"]


class Unit(nn.Module):
    """A convolution without bias, batch normalisation by kept statistics, ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True  # as large as its input, else without padding

    @nn.compact
    def __call__(self, x: Image) -> Image:
        padding = [(k // 2, k // 2) if self.same else (0, 0) for k in self.kernel]
        y = nn.Conv(self.features, self.kernel, self.stride, padding, use_bias=False, precision="highest", name="conv")(
            x
        )
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(y))


def reduced(name: str, features: int) -> Unit:
    """A 3x3 unit that halves the picture."""
    return Unit(features, (3, 3), 2, same=False, name=name)


def mean_pool(x: Image) -> Image:
    """The mean of the 3x3 pixels around each, of those that there are."""
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def max_pool(x: Image) -> Image:
    return nn.max_pool(x, (3, 3), padding="SAME")


def half_pool(x: Image) -> Image:
    return nn.max_pool(x, (3, 3), (2, 2))


def joined(*branches: Image) -> Image:
    return jnp.concatenate(branches, -1)


class BlockA(nn.Module):
    pooled: int

    @nn.compact
    def __call__(self, x: Image) -> Image:
        five = Unit(64, (5, 5), name="branch5x5_2")(Unit(48, name="branch5x5_1")(x))
        three = Unit(96, (3, 3), name="branch3x3dbl_2")(Unit(64, name="branch3x3dbl_1")(x))
        three = Unit(96, (3, 3), name="branch3x3dbl_3")(three)
        return joined(Unit(64, name="branch1x1")(x), five, three, Unit(self.pooled, name="branch_pool")(mean_pool(x)))


class BlockB(nn.Module):
    @nn.compact
    def __call__(self, x: Image) -> Image:
        double = Unit(96, (3, 3), name="branch3x3dbl_2")(Unit(64, name="branch3x3dbl_1")(x))
        return joined(reduced("branch3x3", 384)(x), reduced("branch3x3dbl_3", 96)(double), half_pool(x))


class BlockC(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Image) -> Image:
        seven = _row_of(x, "branch7x7", [(self.width, (1, 1)), (self.width, (1, 7)), (192, (7, 1))])
        twice = [(7, 1), (1, 7), (7, 1)]
        double = _row_of(
            x, "branch7x7dbl", [(self.width, (1, 1)), *((self.width, kernel) for kernel in twice), (192, (1, 7))]
        )
        return joined(Unit(192, name="branch1x1")(x), seven, double, Unit(192, name="branch_pool")(mean_pool(x)))


class BlockD(nn.Module):
    @nn.compact
    def __call__(self, x: Image) -> Image:
        three = reduced("branch3x3_2", 320)(Unit(192, name="branch3x3_1")(x))
        seven = _row_of(x, "branch7x7x3", [(192, (1, 1)), (192, (1, 7)), (192, (7, 1))])
        return joined(three, reduced("branch7x7x3_4", 192)(seven), half_pool(x))


class BlockE(nn.Module):
    pool: Callable[[Image], Image]

    @nn.compact
    def __call__(self, x: Image) -> Image:
        three = Unit(384, name="branch3x3_1")(x)
        double = Unit(384, (3, 3), name="branch3x3dbl_2")(Unit(448, name="branch3x3dbl_1")(x))
        return joined(
            Unit(320, name="branch1x1")(x),
            Unit(384, (1, 3), name="branch3x3_2a")(three),
            Unit(384, (3, 1), name="branch3x3_2b")(three),
            Unit(384, (1, 3), name="branch3x3dbl_3a")(double),
            Unit(384, (3, 1), name="branch3x3dbl_3b")(double),
            Unit(192, name="branch_pool")(self.pool(x)),
        )


def _row_of(x: Image, name: str, units: list[tuple[int, tuple[int, int]]]) -> Image:
    for n, (features, kernel) in enumerate(units, 1):
        x = Unit(features, kernel, name=f"{name}_{n}")(x)
    return x


class InceptionV3(nn.Module):
    """Levels of 0 to 255 to the 2,048 features of its last pool and the logits of 1,008 ImageNet classes.

    Logits are without their bias: published Inception Scores, since the first one (arXiv:1606.03498), leave it out.
    """

    @nn.compact
    def __call__(self, levels: Float[Array, "b h w 3"]) -> Mapping[str, Float[Array, "b _"]]:
        x = (resized(levels) - 128.0) / 128.0
        x = reduced("Conv2d_1a_3x3", 32)(x)
        x = Unit(32, (3, 3), same=False, name="Conv2d_2a_3x3")(x)
        x = half_pool(Unit(64, (3, 3), name="Conv2d_2b_3x3")(x))
        x = Unit(80, name="Conv2d_3b_1x1")(x)
        x = half_pool(Unit(192, (3, 3), same=False, name="Conv2d_4a_3x3")(x))
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(pooled, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = BlockC(width, name=name)(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(mean_pool, name="Mixed_7b")(x)
        x = BlockE(max_pool, name="Mixed_7c")(x)
        features = jnp.mean(x, (1, 2))
        head = nn.Dense(CLASSES, use_bias=False, precision="highest", name="fc")
        return {"features": features, "logits": head(features)}


def resized(x: Float[Array, "b _ _ c"], side: int = SIDE) -> Float[Array, "b {side} {side} c"]:
    """Bilinear as TensorFlow 1 has it: pixel i is read at i * size / side, without antialiasing; the edge goes on."""
    for axis in (2, 1):  # of a row first, as there: the order of roundings
        low, high, part = _places(x.shape[axis], side)
        part = np.expand_dims(part, [n for n in range(x.ndim) if n != axis])
        first = jnp.take(x, low, axis)
        x = first + (jnp.take(x, high, axis) - first) * part
    return x


def _places(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels before and behind each place, and how far it is from the first one."""
    at = np.arange(side, dtype=np.float32) * np.float32(size / side)
    low = at.astype(np.int32)
    return low, np.minimum(low + 1, size - 1), at - low.astype(np.float32)
