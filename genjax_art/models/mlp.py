"""Fully connected generator and discriminator for any array (arXiv:1406.2661), by default of three layers.

The case study that this comes from cannot run as printed: its generator ends at 112x112x3 while its discriminator
expects 28x28x1. Here both follow one `ArraySpec`, so they always fit.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import Dense, into_range, one_hot, wide
from genjax_art.models.norms import MinibatchDeviation
from genjax_art.parts import Count
from genjax_art.spec import ArraySpec, Label


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    layers: int  # hidden ones
    signs: bool  # of the latents, as further inputs
    classes: int  # 0: unconditional

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        del train
        h = jnp.concatenate([z, jnp.sign(z)], -1) if self.signs else z
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes, h.dtype)], -1)
        for _ in range(self.layers):
            h = nn.leaky_relu(Dense(self.width)(h), 0.2)
        return into_range(Dense(self.spec.size)(h).reshape(-1, *self.spec.shape), self.spec)


class Discriminator(nn.Module):
    spec: ArraySpec
    width: int
    layers: int
    octaves: int  # of Fourier features
    deviation: int  # group of the minibatch deviation; 0: none
    classes: int
    styles: int  # outputs of the style head; 0: none

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        del train
        h = fourier_features(x.reshape(x.shape[0], -1), self.spec, self.octaves)
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes, h.dtype)], -1)
        for layer in range(self.layers):
            if self.deviation and layer == self.layers - 1:
                h = MinibatchDeviation(self.deviation)(h)
            h = nn.leaky_relu(Dense(self.width)(h), 0.2)
        out = {"logits": Dense(1, dtype=wide(h).dtype)(h)[:, 0], "features": h}
        return out | {"style": Dense(self.styles, name="style")(h)} if self.styles else out


def fourier_features(x: Float[Array, "b n"], spec: ArraySpec, octaves: int) -> Float[Array, "b m"]:
    """`x`, and sin and cos of 2^k pi x for k < `octaves`, x scaled to [-1, 1]: fine detail is seen from the start.

    Tancik et al. 2020 (arXiv:2006.10739), with the frequencies of NeRF. Phases are formed in float32 at least.
    """
    if octaves == 0:
        return x
    u = (2 * wide(x) - (spec.low + spec.high)) / (spec.high - spec.low)
    frequency = jnp.pi * jnp.exp2(jnp.arange(octaves, dtype=u.dtype))
    phase = frequency[None, :, None] * u[:, None, :]
    features = jnp.concatenate([u, *(f(phase).reshape(x.shape[0], -1) for f in (jnp.sin, jnp.cos))], -1)
    return features.astype(x.dtype)


def build(
    spec: ArraySpec,
    *,
    latents: int = 100,
    width: int = 256,
    layers: Count = 2,
    octaves: Count = 0,
    signs: bool = False,
    minibatch_deviation: int = 0,
    conditional: bool = False,
    style_head: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN for arrays of any shape; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: units of each hidden layer, in both networks.
      layers: hidden layers of each network.
      octaves: frequencies of the Fourier features, 1, 2, 4, ... half-periods over the data's range, that the
        discriminator gets besides the array itself (arXiv:2006.10739); 0 leaves them out.
      signs: the generator gets the signs of its latents as further inputs, so that it can jump between separate modes;
        a continuous one has to bridge them (Khayatkhoei et al. 2018, arXiv:1806.00880).
      minibatch_deviation: size of the groups of examples whose differences the discriminator gets as a further feature
        before its last hidden layer (arXiv:1710.10196, 4 there); 0 leaves it out.
      conditional: both networks get the class label as a further input.
      style_head: the discriminator also returns logits of the label, "style", from its features.
    """
    classes, styles = (len(spec.classes) if wanted else 0 for wanted in (conditional, style_head))
    return {
        "generator": Generator(spec, latents, width, layers, signs, classes),
        "discriminator": Discriminator(spec, width, layers, octaves, minibatch_deviation, classes, styles),
    }
