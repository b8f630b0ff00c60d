"""The residual networks of SNGAN: spectral norm in the discriminator, (conditional) batch norm in the generator.

Miyato, Kataoka, Koyama & Yoshida 2018, table 4 (arXiv:1802.05957): pre-activation blocks of two 3x3 convolutions,
nearest upsampling, average pooling, sum over the last extent. Conditional: gain and bias of the batch norm for each
class (de Vries et al. 2017, arXiv:1707.00683) and the projection discriminator (Miyato & Koyama 2018,
arXiv:1802.05637).
"""

from math import prod

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    Embed,
    again,
    coarsest,
    crop,
    into_range,
    pyramid,
    upsample,
    wide,
)
from genjax_art.models.norms import ConditionalBatchNorm, MinibatchDeviation, spectral
from genjax_art.spec import ArraySpec, Label

glorot = nn.initializers.glorot_uniform()


def downsample(x: Float[Array, "b *space c"], stride: tuple[int, ...]) -> Float[Array, "b *space2 c"]:
    """Averages over windows of `stride`; an odd extent is continued by its edge."""
    for axis, s in enumerate(stride, 1):
        odd = [(0, -x.shape[axis] % s if a == axis else 0) for a in range(x.ndim)]
        x = jnp.pad(x, odd, "edge")
        x = jnp.mean(x.reshape(*x.shape[:axis], x.shape[axis] // s, s, *x.shape[axis + 1 :]), axis + 1)
    return x


class UpBlock(nn.Module):
    """Norm, ReLU, upsampling, 3x3, norm, ReLU, 3x3; beside it upsampling and 1x1."""

    width: int
    stride: tuple[int, ...]
    classes: int

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], label: Label | None, train: bool) -> Float[Array, "b *space2 d"]:
        h = upsample(nn.relu(ConditionalBatchNorm(self.classes)(x, label, train)), self.stride)
        h = Conv(self.width, 3, bias=False, kernel_init=glorot)(h)  # the norm takes a bias away
        h = nn.relu(ConditionalBatchNorm(self.classes)(h, label, train))
        h = Conv(self.width, 3, kernel_init=glorot)(h)
        return h + upsample(Conv(self.width, 1, kernel_init=glorot)(x), self.stride)


class DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, pooling, beside it 1x1 and pooling; all under spectral norm. No ReLU on pixels."""

    width: int
    stride: tuple[int, ...]
    first: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], train: bool) -> Float[Array, "b *space2 d"]:
        h = x if self.first else nn.relu(x)
        h = nn.relu(spectral(Conv(self.width, 3, kernel_init=glorot), h, train))
        h = downsample(spectral(Conv(self.width, 3, kernel_init=glorot), h, train), self.stride)
        if x.shape[-1] != self.width or prod(self.stride) > 1:
            x = downsample(spectral(Conv(self.width, 1, kernel_init=glorot), x, train), self.stride)
        return h + x


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    classes: int  # 0: unconditional
    remat: bool

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        space, strides = self.spec.space, pyramid(self.spec.space, above=4)
        base = coarsest(space, strides)
        h = Dense(prod(base) * self.width, kernel_init=glorot)(z).reshape(-1, *base, self.width)
        block = again(UpBlock, self.remat, static=(3,))
        for level in reversed(range(len(strides))):
            name = f"UpBlock_{len(strides) - 1 - level}"
            h = block(self.width, strides[level], self.classes, name=name)(h, label, train)
            h = crop(h, coarsest(space, strides[:level]))
        h = nn.relu(BatchNorm()(h, train))
        return into_range(Conv(self.spec.channels, 3, kernel_init=glorot)(h), self.spec)


class Discriminator(nn.Module):
    width: int
    deviation: int  # group of the minibatch deviation; 0: none
    classes: int
    styles: int  # outputs of the style head; 0: none
    remat: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        rank = x.ndim - 2
        h, strides = x, (*pyramid(x.shape[1:-1], above=8), (1,) * rank, (1,) * rank)
        block = again(DownBlock, self.remat, static=(2,))
        for level, stride in enumerate(strides):
            if self.deviation and level == len(strides) - 1:
                h = MinibatchDeviation(self.deviation)(h)
            h = block(self.width, stride, level == 0, name=f"DownBlock_{level}")(h, train)
        h = jnp.sum(nn.relu(h), range(1, 1 + rank))
        logits = spectral(Dense(1, dtype=wide(h).dtype, kernel_init=glorot), h, train)[:, 0]
        if label is not None:
            embedding = spectral(Embed(self.classes, self.width, embedding_init=glorot), label, train)
            logits = logits + jnp.sum(wide(embedding) * wide(h), -1)
        out = {"logits": logits, "features": h}
        return out | {"style": Dense(self.styles, name="style")(h)} if self.styles else out


def build(
    spec: ArraySpec,
    *,
    latents: int = 128,
    width: int = 256,
    discriminator_width: int = 128,
    minibatch_deviation: int = 0,
    conditional: bool = False,
    style_head: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN for any extents; z [b, latents]. The defaults are the paper's CIFAR-10 networks.

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: filters of every convolution of the generator.
      discriminator_width: filters of every convolution of the discriminator.
      minibatch_deviation: size of the groups of examples whose differences the discriminator gets as a further feature
        before its last block (arXiv:1710.10196, 4 there); 0 leaves it out.
      conditional: both networks get the class label: the generator as gain and bias of its batch norms
        (arXiv:1707.00683), the discriminator by projection (arXiv:1802.05637).
      style_head: the discriminator also returns logits of the label, "style", from its features.
      remat: what a block computes inside is computed again for the gradient, not kept: less memory, more time, the same
        numbers.
    """
    classes, styles = (len(spec.classes) if wanted else 0 for wanted in (conditional, style_head))
    return {
        "generator": Generator(spec, latents, width, classes, remat),
        "discriminator": Discriminator(discriminator_width, minibatch_deviation, classes, styles, remat),
    }
