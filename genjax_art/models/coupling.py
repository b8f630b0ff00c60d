"""A learned distribution of vectors whose draws are standard normal ones bent: affine couplings.

Real NVP, Dinh et al. 2017 (arXiv:1605.08803). Every layer moves and scales half of the numbers by what the other half
says, so that it is undone exactly and its volume known. As the prior of a VAE it takes the shape that the posteriors of
the data have together, where a standard normal one has holes between them (Chen et al. 2017, arXiv:1611.02731).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.layers import Dense, wide

MAX_LOG_SCALE = 2.0  # of a layer, in either sign


class Coupling(nn.Module):
    """So many layers for vectors of so many numbers; at first the identity."""

    size: int
    layers: int
    hidden: int

    def setup(self) -> None:
        self.inner = [Dense(self.hidden) for _ in range(self.layers)]
        zeros = nn.initializers.zeros
        self.last = [Dense(2 * self.size, kernel_init=zeros, bias_init=zeros) for _ in range(self.layers)]

    def __call__(self, f: Float[Array, "b d"]) -> tuple[Float[Array, "b d"], Float[Array, " b"]]:
        """The noise that makes f, and log |d noise / d f|: log p(f) is log N(noise; 0, I) plus that."""
        x = wide(f)
        volume = jnp.zeros(len(x), x.dtype)
        for layer in reversed(range(self.layers)):
            moved, shift, log_scale = self._moves(layer, x, f.dtype)
            x = jnp.where(moved, (x - shift) * jnp.exp(-log_scale), x)
            volume = volume - jnp.sum(jnp.where(moved, log_scale, 0.0), -1)
        return x, volume

    def bend(self, noise: Float[Array, "b d"]) -> Float[Array, "b d"]:
        """The inverse: f for noise."""
        x = wide(noise)
        for layer in range(self.layers):
            moved, shift, log_scale = self._moves(layer, x, noise.dtype)
            x = jnp.where(moved, x * jnp.exp(log_scale) + shift, x)
        return x

    def _moves(self, layer: int, x: Float[Array, "b d"], compute: Any) -> tuple[Array, Array, Array]:
        """Which numbers the layer moves, and how, by the others. Two layers of each parity move halves, two others
        every second number."""
        place = jnp.arange(self.size)
        side = place % 2 if layer % 4 < 2 else place // max(1, self.size // 2)
        moved = (side == layer % 2)[None]
        seen = jnp.where(moved, 0.0, x).astype(compute)
        shift, raw = jnp.split(wide(self.last[layer](nn.relu(self.inner[layer](seen)))), 2, -1)
        return moved, shift, MAX_LOG_SCALE * jnp.tanh(raw / MAX_LOG_SCALE)
