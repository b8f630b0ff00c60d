"""Convolutional VAE for any spatial rank and extent: stride-2 convolutions down to 4-7 positions an axis, and back.

The plain design of the VAE-DCGAN hybrids (Larsen et al. 2016, arXiv:1512.09300), with ReLU.
"""

from math import prod

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.layers import Conv, ConvTranspose, Dense, coarsest, crop, one_hot, pyramid
from genjax_art.spec import ArraySpec, Label

he = nn.initializers.he_normal()


class Encoder(nn.Module):
    latents: int
    width: int
    kernel: int
    hidden: int
    classes: int  # 0: unconditional

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Label | None = None, train: bool = True
    ) -> tuple[Float[Array, "b z"], Float[Array, "b z"]]:
        """mu and logvar of q(z|x)."""
        del train
        h = x
        for level, stride in enumerate(pyramid(x.shape[1:-1], above=7)):
            h = nn.relu(Conv(self.width * 2**level, self.kernel, stride, kernel_init=he)(h))
        h = h.reshape(h.shape[0], -1)
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes, h.dtype)], -1)
        h = nn.relu(Dense(self.hidden)(h))
        return Dense(self.latents)(h), Dense(self.latents)(h)


class Decoder(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    kernel: int
    hidden: int
    classes: int

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        """Raw outputs, which a likelihood reads."""
        del train
        strides = pyramid(self.spec.space, above=7)
        base = coarsest(self.spec.space, strides)
        widest = self.width * 2 ** max(0, len(strides) - 1)
        h = z if label is None else jnp.concatenate([z, one_hot(label, self.classes, z.dtype)], -1)
        h = nn.relu(Dense(self.hidden)(h))
        h = nn.relu(Dense(prod(base) * widest)(h)).reshape(-1, *base, widest)
        for level in reversed(range(len(strides))):
            features = self.width * 2 ** max(0, level - 1)
            h = nn.relu(ConvTranspose(features, self.kernel, strides[level], kernel_init=he)(h))
            h = crop(h, coarsest(self.spec.space, strides[:level]))
        return Conv(self.spec.channels, 3)(h)


def build(
    spec: ArraySpec,
    *,
    latents: int = 32,
    width: int = 32,
    kernel: int = 4,
    hidden: int = 256,
    conditional: bool = False,
) -> dict[str, nn.Module]:
    """Encoder and decoder of arrays of any extents; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: filters of the convolutions at the finest resolution; twice as many after each halving.
      kernel: side of the stride-2 convolutions' kernels, in pixels (positions) along each axis.
      hidden: units of the dense layer between the convolutions and z.
      conditional: the encoder and the decoder get the class label as a further input.
    """
    classes = len(spec.classes) if conditional else 0
    return {
        "encoder": Encoder(latents, width, kernel, hidden, classes),
        "decoder": Decoder(spec, latents, width, kernel, hidden, classes),
    }
