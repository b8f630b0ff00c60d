"""Shared blocks: convolutions of any spatial rank, batch statistics over all devices, conditioning."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.models import convolution
from genjax_art.shards import global_mean
from genjax_art.spec import ArraySpec, Label

Initializer = Callable[..., Array]
MOMENTUM, EPSILON = 0.9, 1e-5  # of batch norm


class Conv(nn.Module):
    """Convolution over all spatial axes, SAME padding. Parameters as in `nn.Conv`: kernel [*k, in / groups, out]."""

    features: int
    kernel: int = 3
    stride: int | tuple[int, ...] = 1  # of all axes, or one per axis
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space2 d"]:
        rank = x.ndim - 2
        if rank == 0:
            raise UsageError("convolutional models need arrays with spatial axes, not points: take --model.name mlp")
        shape = (*(self.kernel,) * rank, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = convolution.conv(x, kernel, _per_axis(self.stride, rank), "SAME", self.groups)
        return _add_bias(self, y) if self.bias else y


class ConvTranspose(nn.Module):
    """Transposed convolution over all spatial axes, SAME padding: the extents are multiplied by the stride.

    Parameters as in `nn.ConvTranspose`: kernel [*k, in, out].
    """

    features: int
    kernel: int = 4
    stride: int | tuple[int, ...] = 2  # of all axes, or one per axis
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space2 d"]:
        rank = x.ndim - 2
        kernel = self.param("kernel", self.kernel_init, (*(self.kernel,) * rank, x.shape[-1], self.features))
        y = convolution.conv_transpose(x, kernel, _per_axis(self.stride, rank), "SAME")
        return _add_bias(self, y) if self.bias else y


def _per_axis(stride: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (stride,) * rank if isinstance(stride, int) else stride


class Dense(nn.Module):
    """Matrix product over the last axis: `nn.Dense`, with the same parameters, but for the bias' gradient, which is
    summed in float32. With a `dtype` it computes in that."""

    features: int
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b d"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        dtype = self.dtype or jnp.promote_types(x.dtype, kernel.dtype)
        y: Array = jax.lax.dot_general(x.astype(dtype), kernel.astype(dtype), (((x.ndim - 1,), (0,)), ((), ())))
        return y + everywhere(self.param("bias", self.bias_init, (self.features,)), y) if self.use_bias else y


def _add_bias(module: nn.Module, y: Float[Array, "b *space d"]) -> Float[Array, "b *space d"]:
    return y + everywhere(module.param("bias", nn.initializers.zeros, (y.shape[-1],)), y)


def everywhere(weights: Float[Array, "*#b c"], x: Float[Array, "*b c"]) -> Float[Array, "*#b c"]:
    """Numbers for each channel, to be added to x or to scale it.

    Their gradient, a sum over all positions, is formed in float32.
    """
    exact = in_float32(weights).reshape((1,) * (x.ndim - weights.ndim) + weights.shape)
    if jnp.finfo(x.dtype).bits >= 32:
        return exact.astype(x.dtype)
    return jnp.broadcast_to(exact, x.shape).astype(x.dtype)


def in_float32(weights: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """As `wide`; and a sum that is their gradient is formed in float32 before it is rounded to what they are.

    Between a cast and the rounding a compiler may narrow the sum itself: the TPU's does, and then reads all of its
    terms once more, for they are in no other sum's loop.
    """
    kind = jnp.finfo(weights.dtype)
    return weights if kind.bits >= 32 else jax.lax.reduce_precision(wide(weights), kind.nexp, kind.nmant)


def again(block: Callable[..., Any], wanted: bool, static: tuple[int, ...] = ()) -> Callable[..., Any]:
    """`block`, where `wanted` with its inner activations computed again for the gradient instead of kept.

    Of a class of modules the instances need explicit names then, since the class is another; a method is called with
    its module. Parameters and values are the same. `static` are the positions of the call's arguments that are no
    arrays, the module itself being 0.
    """
    return nn.remat(block, static_argnums=static) if wanted else block


class BatchNorm(nn.Module):
    """Batch normalisation (arXiv:1502.03167) with statistics of the global batch in every parallel mode.

    Equal to `nn.BatchNorm`, with the same parameters. All but x stays a vector of the channels: a reshape on the way
    lets XLA write the same numbers in two ways, and what two players share is then computed for each of them.
    """

    affine: bool = True  # with learned gain and bias

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], train: bool) -> Float[Array, "b *space c"]:
        shape, places = (x.shape[-1],), tuple(range(x.ndim - 1))
        average = self.variable("batch_stats", "mean", jnp.zeros, shape)
        spread = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            mean, variance = average.value, spread.value
        else:
            counted = x.astype(jnp.float32)
            mean, square = (global_mean(v, places) for v in (counted, jax.lax.square(counted)))
            variance = jnp.maximum(square - jax.lax.square(mean), 0.0)
            if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
                average.value = MOMENTUM * average.value + (1 - MOMENTUM) * mean
                spread.value = MOMENTUM * spread.value + (1 - MOMENTUM) * variance
        gain = jax.lax.rsqrt(variance + EPSILON)
        if self.affine:
            gain = gain * in_float32(self.param("scale", nn.initializers.ones, shape)).astype(gain.dtype)
        exact = wide(x)

        def at_all_places(vector: Float[Array, " c"]) -> Float[Array, "b *space c"]:
            return jax.lax.broadcast_in_dim(vector.astype(exact.dtype), x.shape, (x.ndim - 1,))

        y = (exact - at_all_places(mean)) * at_all_places(gain)
        if self.affine:
            y = y + at_all_places(in_float32(self.param("bias", nn.initializers.zeros, shape)))
        return y.astype(x.dtype)


def one_hot(label: Label, classes: int, dtype: Any = jnp.float32) -> Float[Array, "b classes"]:
    """Rows of the identity, in the dtype of what they are put beside; a label outside 0..classes-1 gives zeros. Shares
    of the classes stay what they are."""
    hot = label if label.ndim == 2 else label[:, None] == jnp.arange(classes)[None, :]
    return hot.astype(dtype)


class Embed(nn.Module):
    """A vector for each class: `nn.Embed`, with the same parameters, but for the gradient, which is summed in float32.
    Of shares of the classes it is the mean of their vectors by these."""

    classes: int
    features: int
    embedding_init: Initializer

    @nn.compact
    def __call__(self, label: Label) -> Float[Array, "b d"]:
        table = self.param("embedding", self.embedding_init, (self.classes, self.features))
        if label.ndim == 2:
            return label.astype(table.dtype) @ table
        return jnp.take(in_float32(table), label, axis=0).astype(table.dtype)


def wide(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`x` in float32, or as it is where it is wider: for what a network that computes in less needs more for."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def pyramid(space: tuple[int, ...], above: int) -> tuple[tuple[int, ...], ...]:
    """Strides per axis of each halving from `space` down, finest first.

    An axis is halved (rounding up) as long as its extent is above `above`, so a long axis is still halved
    when a short one has stopped. A generator takes the strides in reverse.
    """
    strides = []
    while any(n > above for n in space):
        stride = tuple(2 if n > above else 1 for n in space)
        strides.append(stride)
        space = coarsest(space, (stride,))
    return tuple(strides)


def check_clips(spec: ArraySpec, model: str) -> None:
    """Raises UsageError where the data are no clips."""
    if len(spec.shape) != 4:
        raise UsageError(
            f"model {model} makes clips [frames, height, width, channels], not arrays of shape {spec.shape}: "
            "choose clips with --data.name moving_shapes, moving_digits or clip_folder"
        )


def coarsest(space: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The extents that are left of `space` below all `strides`."""
    for stride in strides:
        space = tuple(-(-n // s) for n, s in zip(space, stride, strict=True))
    return space


def upsample(x: Float[Array, "b *space c"], stride: tuple[int, ...]) -> Float[Array, "b *space2 c"]:
    """Each position repeated `stride` times along each axis."""
    for axis, s in enumerate(stride, 1):
        x = jnp.repeat(x, s, axis)
    return x


def crop(x: Float[Array, "b *space c"], space: tuple[int, ...]) -> Float[Array, "b *space2 c"]:
    """The first `space` positions of each axis: an odd extent was covered by the even one above it."""
    return x[(slice(None), *(slice(n) for n in space), slice(None))]


def into_range(y: Float[Array, "b *shape"], spec: ArraySpec) -> Float[Array, "b *shape"]:
    """tanh, scaled to the closed range of `spec`, in float32 at least; where that is not bounded, y itself."""
    if not spec.bounded:
        return y
    y = wide(y)
    return spec.low + (spec.high - spec.low) * 0.5 * (1.0 + jnp.tanh(y))
