"""The R3GAN networks: residual blocks of 1x1, grouped 3x3, 1x1 convolutions, no normalisation anywhere.

Huang, Gokaslan, Kuleshov & Tompkin 2024, "The GAN is dead; long live the GAN!" (arXiv:2501.05441):
groups of 16 channels, an inverted bottleneck of factor 2, LeakyReLU 0.2, bilinear resampling, a learned 4x4
basis at the generator's start and its mirror image at the discriminator's end. Weights are drawn with standard
deviation gain / sqrt(fan_in), times L^(-1/4) for the first two convolutions of each of L blocks, zero for the last
one, so that the deep network starts as its skip connections (Fixup, arXiv:1901.09321).
"""

from math import prod, sqrt

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError
from genjax_art.models.layers import Conv, Dense, Embed, again, coarsest, crop, everywhere, in_float32, pyramid, wide
from genjax_art.models.norms import MinibatchDeviation
from genjax_art.parts import Count
from genjax_art.spec import ArraySpec, Label

GROUP = 16  # channels per group of the 3x3 convolution
GAIN = sqrt(2 / (1 + 0.2**2))  # of LeakyReLU 0.2: it keeps the second moment


def scaled(gain: float) -> nn.initializers.Initializer:
    """Normal numbers of standard deviation gain / sqrt(fan_in)."""
    return nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


class Activated(nn.Module):
    """A bias for each channel, then LeakyReLU 0.2."""

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return nn.leaky_relu(x + everywhere(bias, x), 0.2)


class Block(nn.Module):
    """x + f(x): 1x1 to `expansion` times the channels, 3x3 in groups of 16, 1x1 back."""

    expansion: int
    blocks: int  # L, in the whole network

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        channels = x.shape[-1]
        hidden = channels * self.expansion
        inside = scaled(GAIN * self.blocks**-0.25)
        y = Conv(hidden, 1, bias=False, kernel_init=inside)(x)
        y = Conv(hidden, 3, groups=max(1, hidden // GROUP), bias=False, kernel_init=inside)(Activated()(y))
        y = Conv(channels, 1, bias=False, kernel_init=nn.initializers.zeros)(Activated()(y))
        return x + y


def halve(x: Float[Array, "b *space c"], stride: tuple[int, ...]) -> Float[Array, "b *space2 c"]:
    """Bilinear (anti-aliased) resampling of the axes with stride 2 to half their extents, rounded up."""
    for axis, s in enumerate(stride, 1):
        if s == 2:
            n = -(-x.shape[axis] // 2)
            odd = 2 * n - x.shape[axis]
            x = jnp.pad(x, [(1, 1 + odd) if a == axis else (0, 0) for a in range(x.ndim)], "edge")
            a, b, c, d = (lax.slice_in_dim(x, k, k + 2 * n - 1, 2, axis) for k in range(4))
            x = (a + d) * 0.125 + (b + c) * 0.375
    return x


def double(x: Float[Array, "b *space c"], stride: tuple[int, ...]) -> Float[Array, "b *space2 c"]:
    """Bilinear resampling of the axes with stride 2 to twice their extents."""
    for axis, s in enumerate(stride, 1):
        if s == 2:
            n = x.shape[axis]
            x = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)], "edge")
            before, here, after = (lax.slice_in_dim(x, k, k + n, 1, axis) for k in range(3))
            pair = jnp.stack([before * 0.25 + here * 0.75, here * 0.75 + after * 0.25], axis + 1)
            x = pair.reshape(*pair.shape[:axis], 2 * n, *pair.shape[axis + 2 :])
    return x


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    widths: tuple[int, ...]  # coarsest first
    blocks: int  # per resolution
    expansion: int
    classes: int  # 0: unconditional
    remat: bool

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        del train
        space, strides = self.spec.space, pyramid(self.spec.space, above=4)
        base = coarsest(space, strides)
        if label is not None:
            embedding = Embed(self.classes, self.latents, embedding_init=nn.initializers.normal(1.0))
            z = jnp.concatenate([z, embedding(label)], -1)
        h = Dense(self.widths[0], use_bias=False, kernel_init=scaled(1.0))(z)
        basis = self.param("basis", nn.initializers.normal(1.0), (1, *base, self.widths[0]))
        h = (in_float32(basis) * in_float32(h.reshape(-1, *(1,) * len(base), self.widths[0]))).astype(h.dtype)
        block, total = again(Block, self.remat), self.blocks * (len(strides) + 1)
        names = (f"Block_{n}" for n in range(total))
        for level in range(len(strides), -1, -1):
            width = width_at(self.widths, len(strides) - level)
            if level < len(strides):
                if width != h.shape[-1]:  # commutes with resampling, so at the coarser extents
                    h = Conv(width, 1, bias=False, kernel_init=scaled(1.0))(h)
                h = crop(double(h, strides[level]), coarsest(space, strides[:level]))
            for _ in range(self.blocks):
                h = block(self.expansion, total, name=next(names))(h)
        return Conv(self.spec.channels, 1, bias=False, kernel_init=scaled(1.0))(h)


class Discriminator(nn.Module):
    widths: tuple[int, ...]
    blocks: int
    expansion: int
    deviation: int  # group of the minibatch deviation; 0: none
    classes: int
    styles: int  # outputs of the style head; 0: none
    remat: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        del train
        strides = pyramid(x.shape[1:-1], above=4)
        h = Conv(width_at(self.widths, len(strides)), 1, bias=False, kernel_init=scaled(1.0))(x)
        block, total = again(Block, self.remat), self.blocks * (len(strides) + 1)
        names = (f"Block_{n}" for n in range(total))
        for level in range(len(strides) + 1):
            if level > 0:
                h = halve(h, strides[level - 1])
                width = width_at(self.widths, len(strides) - level)
                if width != h.shape[-1]:
                    h = Conv(width, 1, bias=False, kernel_init=scaled(1.0))(h)
            for _ in range(self.blocks):
                h = block(self.expansion, total, name=next(names))(h)
        if self.deviation:
            h = MinibatchDeviation(self.deviation)(h)
        # a depthwise convolution with a window of the whole remaining extent
        basis = self.param("basis", nn.initializers.normal(prod(h.shape[1:-1]) ** -0.5), (1, *h.shape[1:]))
        features = jnp.sum(h * everywhere(basis, h), range(1, h.ndim - 1))
        outputs = max(1, self.classes and features.shape[-1])
        dtype = wide(features).dtype if outputs == 1 else None
        y = Dense(outputs, use_bias=False, dtype=dtype, kernel_init=scaled(1.0))(features)
        if label is None:
            logits = y[:, 0]
        else:
            embedding = Embed(self.classes, outputs, embedding_init=nn.initializers.normal(1.0))(label)
            logits = jnp.sum(wide(y) * wide(embedding), -1) / sqrt(outputs)
        out = {"logits": logits, "features": features}
        return out | {"style": Dense(self.styles, name="style")(features)} if self.styles else out


def width_at(widths: tuple[int, ...], level: int) -> int:
    """Channels at a level, coarsest first; the last given width holds for finer levels, too."""
    return widths[min(level, len(widths) - 1)]


def build(
    spec: ArraySpec,
    *,
    latents: int = 64,
    widths: tuple[int, ...] = (256,),
    blocks: Count = 2,
    expansion: int = 2,
    minibatch_deviation: int = 0,
    conditional: bool = False,
    style_head: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN for any extents; z [b, latents].

    The paper's CIFAR-10 networks have widths (768,), 2 blocks and expansion 2.

    Args:
      spec: of the data.
      latents: how many numbers z has.
      widths: channels at each resolution, the coarsest one (about 4 positions an axis) first; the last number holds
        for all finer ones.
      blocks: residual blocks at each resolution.
      expansion: factor by which a block widens its channels inside, around the grouped convolution.
      minibatch_deviation: size of the groups of examples whose differences the discriminator gets as a further feature
        after its last block (arXiv:1710.10196, 4 there); not in the R3GAN paper; 0 leaves it out.
      conditional: both networks get the class label: the generator as an embedding beside z, the discriminator by
        projection.
      style_head: the discriminator also returns logits of the label, "style", from its features.
      remat: what a block computes inside is computed again for the gradient, not kept: less memory, more time, the same
        numbers.

    Raises:
      UsageError: channels that are not shared evenly by groups of 16.
    """
    for width in widths:
        if (hidden := width * expansion) % max(1, hidden // GROUP):
            raise UsageError(
                f"--model.widths {width} times --model.expansion {expansion} is {hidden} channels, but groups have "
                f"{GROUP}: choose a multiple of that"
            )
    classes, styles = (len(spec.classes) if wanted else 0 for wanted in (conditional, style_head))
    return {
        "generator": Generator(spec, latents, widths, blocks, expansion, classes, remat),
        "discriminator": Discriminator(widths, blocks, expansion, minibatch_deviation, classes, styles, remat),
    }
