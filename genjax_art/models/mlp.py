"""Generator and discriminator of three fully connected layers, for any array (arXiv:1406.2661).

The case study that this comes from cannot run as printed: its generator ends at 112x112x3 while its discriminator
expects 28x28x1. Here both follow one `ArraySpec`, so they always fit.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import into_range, one_hot
from genjax_art.spec import ArraySpec


class Generator(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    classes: int  # 0: unconditional

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        del train
        h = z if label is None else jnp.concatenate([z, one_hot(label, self.classes)], -1)
        for _ in range(2):
            h = nn.leaky_relu(nn.Dense(self.width)(h), 0.2)
        return into_range(nn.Dense(self.spec.size)(h).reshape(-1, *self.spec.shape), self.spec)


class Discriminator(nn.Module):
    width: int
    classes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Int[Array, " b"] | None = None, train: bool = True
    ) -> dict[str, Float[Array, "..."]]:
        del train
        h = x.reshape(x.shape[0], -1)
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes)], -1)
        for _ in range(2):
            h = nn.leaky_relu(nn.Dense(self.width)(h), 0.2)
        return {"logits": nn.Dense(1)(h)[:, 0], "features": h}


def build(
    spec: ArraySpec, *, latents: int = 100, width: int = 256, conditional: bool = False
) -> dict[str, nn.Module]:
    """Networks of a GAN: latents z [b, latents], hidden layers of `width`; `conditional` on the labels."""
    classes = len(spec.classes) if conditional else 0
    return {
        "generator": Generator(spec, latents, width, classes),
        "discriminator": Discriminator(width, classes),
    }
