"""The fully connected Gaussian VAE of Kingma & Welling 2014 (arXiv:1312.6114); for 28x28: 784-400-20."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.layers import Dense, one_hot
from genjax_art.spec import ArraySpec, Label


class Encoder(nn.Module):
    latents: int
    width: int
    classes: int  # 0: unconditional

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *shape"], label: Label | None = None, train: bool = True
    ) -> tuple[Float[Array, "b z"], Float[Array, "b z"]]:
        """mu and logvar of q(z|x)."""
        del train
        h = x.reshape(x.shape[0], -1)
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes, h.dtype)], -1)
        h = nn.relu(Dense(self.width)(h))
        return Dense(self.latents)(h), Dense(self.latents)(h)


class Decoder(nn.Module):
    spec: ArraySpec
    latents: int
    width: int
    classes: int

    @nn.compact
    def __call__(
        self, z: Float[Array, "b z"], label: Label | None = None, train: bool = True
    ) -> Float[Array, "b *shape"]:
        """Raw outputs, which a likelihood reads."""
        del train
        h = z if label is None else jnp.concatenate([z, one_hot(label, self.classes, z.dtype)], -1)
        h = nn.relu(Dense(self.width)(h))
        return Dense(self.spec.size)(h).reshape(-1, *self.spec.shape)


def build(spec: ArraySpec, *, latents: int = 20, width: int = 400, conditional: bool = False) -> dict[str, nn.Module]:
    """Encoder and decoder with one hidden layer each; z [b, latents].

    Args:
      spec: of the data.
      latents: how many numbers z has.
      width: units of the hidden layer of each network.
      conditional: the encoder and the decoder get the class label as a further input.
    """
    classes = len(spec.classes) if conditional else 0
    return {"encoder": Encoder(latents, width, classes), "decoder": Decoder(spec, latents, width, classes)}
