"""Convolutional generator and discriminator of the GAN case study, for any spatial rank and extent.

Generator: dense layer, 5x5 stride-2 transposed convolutions, 5x5 convolution, tanh. Discriminator: 5x5 stride-2
convolutions with LeakyReLU 0.2 down to 4 positions an axis, dense layer. For 28x28x1: dense 7x7xwidth, two transposed
convolutions; three convolutions. After DCGAN (arXiv:1511.06434), without its normalisation unless asked for.

The case study has two slips here that are put right: its generator ends at 112x112x3 while the discriminator takes
28x28x1 (both follow one `ArraySpec` here), and it shows the discriminator raw noise instead of G(noise) (see
`objectives/gan.py`).
"""

from math import prod
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Embed,
    Initializer,
    again,
    coarsest,
    crop,
    into_range,
    one_hot,
    pyramid,
    wide,
)
from genjax_art.models.norms import GeneratorNorm, MinibatchDeviation, normalised, spectral
from genjax_art.spec import ArraySpec, Label

DiscriminatorNorm = Literal["none", "batch", "spectral"]
glorot = nn.initializers.glorot_uniform()


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    growth: int
    kernel: int
    norm: GeneratorNorm
    classes: int  # 0: unconditional
    remat: bool

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        strides = pyramid(self.spec.space, above=7)
        base = coarsest(self.spec.space, strides)
        h = z
        if label is not None and self.norm != "conditional_batch":  # which shows the label to every layer
            h = jnp.concatenate([z, one_hot(label, self.classes, z.dtype)], -1)
        bias = self.norm == "none"  # a bias under batch statistics has no effect, and Adam would walk it at random
        widest = self.width * self.growth ** max(len(strides) - 1, 0)
        h = Dense(prod(base) * widest, use_bias=bias)(h).reshape(-1, *base, widest)
        h = nn.leaky_relu(self.normalise(h, label, train), 0.2)
        finer = again(Generator.finer, self.remat, static=(3, 4))
        for level in reversed(range(len(strides))):
            h = finer(self, h, label, train, level)
        return into_range(Conv(self.spec.channels, self.kernel, kernel_init=glorot)(h), self.spec)

    def finer(
        self, h: Float[Array, "b *space c"], label: Label | None, train: bool, level: int
    ) -> Float[Array, "b *space2 d"]:
        """From the extents below `level` to those at it."""
        strides, bias = pyramid(self.spec.space, above=7), self.norm == "none"
        width = self.width * self.growth ** max(level - 1, 0)
        h = ConvTranspose(width, self.kernel, strides[level], bias, kernel_init=glorot)(h)
        h = crop(h, coarsest(self.spec.space, strides[:level]))
        return nn.leaky_relu(self.normalise(h, label, train), 0.2)

    def normalise(self, h: Float[Array, "b *space c"], label: Label | None, train: bool) -> Float[Array, "b *space c"]:
        return normalised(h, self.norm, self.classes, label, train)


class Discriminator(nn.Module):
    width: int
    growth: int
    kernel: int
    norm: DiscriminatorNorm
    deviation: int  # group of the minibatch deviation; 0: none
    classes: int
    styles: int  # outputs of the style head; 0: none
    remat: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        h, strides = x, pyramid(x.shape[1:-1], above=4)
        coarser = again(Discriminator.coarser, self.remat, static=(2, 3, 4))
        for level, stride in enumerate(strides):
            if self.deviation and level == len(strides) - 1:
                h = MinibatchDeviation(self.deviation)(h)
            h = coarser(self, h, train, level, stride)
        h = h.reshape(h.shape[0], -1)
        logits = self.call(Dense(1, dtype=wide(h).dtype), h, train)[:, 0]
        if label is not None:  # projection discriminator: arXiv:1802.05637
            embedding = Embed(self.classes, h.shape[-1], embedding_init=self.embedding_init())
            logits = logits + jnp.sum(wide(self.call(embedding, label, train)) * wide(h), -1)
        out = {"logits": logits, "features": h}
        return out | {"style": Dense(self.styles, name="style")(h)} if self.styles else out

    def coarser(
        self, h: Float[Array, "b *space c"], train: bool, level: int, stride: tuple[int, ...]
    ) -> Float[Array, "b *space2 d"]:
        normed = self.norm == "batch" and level > 0  # not on pixels: arXiv:1511.06434
        conv = Conv(self.width * self.growth**level, self.kernel, stride, bias=not normed, kernel_init=glorot)
        h = self.call(conv, h, train)
        if normed:
            h = BatchNorm()(h, train)
        return nn.leaky_relu(h, 0.2)

    def call(self, layer: nn.Module, x: Array, train: bool) -> Array:
        y: Array = spectral(layer, x, train) if self.norm == "spectral" else layer(x)
        return y

    def embedding_init(self) -> Initializer:
        """Not zero under spectral norm, which has no direction of zero to scale."""
        return glorot if self.norm == "spectral" else nn.initializers.zeros


def build(
    spec: ArraySpec,
    *,
    latents: int = 100,
    width: int = 128,
    growth: int = 1,
    kernel: int = 5,
    generator_norm: GeneratorNorm = "none",
    discriminator_norm: DiscriminatorNorm = "none",
    minibatch_deviation: int = 0,
    conditional: bool = False,
    style_head: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN for any extents; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: filters of both networks' convolutions at the finest resolution.
      growth: factor by which the number of filters grows at each halving of the resolution; 1 keeps it.
      kernel: side of the convolutions' kernels, in pixels (positions) along each axis.
      generator_norm: normalisation in the generator: none; batch, by the statistics of the batch;
        conditional_batch, the same with gain and bias of each class (arXiv:1707.00683).
      discriminator_norm: normalisation in the discriminator: none; batch, which makes examples depend on one another
        and so excludes gradient penalties; spectral, which divides every weight but the style head's by its largest
        singular value (arXiv:1802.05957).
      minibatch_deviation: size of the groups of examples whose differences the discriminator gets as a further feature
        before its last convolution (arXiv:1710.10196, 4 there); 0 leaves it out.
      conditional: both networks get the class label: the generator beside z (or by its norm), the discriminator by
        projection (arXiv:1802.05637).
      style_head: the discriminator also returns logits of the label, "style", from its features.
      remat: compute each level of a network again for the gradient instead of keeping it: less memory, more time.
    """
    classes, styles = (len(spec.classes) if wanted else 0 for wanted in (conditional, style_head))
    return {
        "generator": Generator(spec, latents, width, growth, kernel, generator_norm, classes, remat),
        "discriminator": Discriminator(
            width, growth, kernel, discriminator_norm, minibatch_deviation, classes, styles, remat
        ),
    }
