"""The network of own features of clips: pictures first, then time, small enough for two cores.

Convolutions over space and then over time, as R(2+1)D factors them (Tran et al. 2018, arXiv:1711.11248). Whole 3-D ones
are six times as slow on CPU: a step of the net in `network.py` on 32 clips of 16x32x32 takes 11 s on two cores.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.layers import BatchNorm, Conv, pyramid

WIDTHS = (24, 32, 48, 64)  # of the stem and of each halving of the picture; the last one for all further
FRAME, TIME = 64, 64  # numbers kept of a frame, and of each level of time
LARGE = 16  # sides above it are halved by the stem already


class Frames(nn.Module):
    """Each picture as a vector that knows where things are: halved down to 4 pixels, then one dense layer."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b d"]:
        stride = tuple(2 if n > LARGE else 1 for n in x.shape[1:-1])
        h = nn.relu(BatchNorm()(Conv(WIDTHS[0], 3, stride, bias=False)(x), train))
        for level, halving in enumerate(pyramid(h.shape[1:-1], above=4), 1):
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            h = nn.relu(BatchNorm()(Conv(width, 3, halving, bias=False)(h), train))
        return nn.Dense(FRAME)(h.reshape(len(h), -1))


class Clips(nn.Module):
    """Features of clips, and `out` numbers by a dense layer on them. Features are the means over time of the last two
    levels of residual blocks, one for each halving down to at most four steps."""

    out: int

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"], train: bool) -> tuple[Float[Array, "b d"], Float[Array, "b o"]]:
        b, t, *frame = x.shape
        h = Frames(name="frames")(x.reshape(b * t, *frame), train).reshape(b, t, FRAME)
        found = []
        for stride in ((1,), *pyramid((t,), above=4)):
            y = Conv(TIME, 3, stride, bias=False)(nn.relu(BatchNorm()(h, train)))
            y = Conv(TIME, 3, bias=False)(nn.relu(BatchNorm()(y, train)))
            h = y + Conv(TIME, 1, stride, bias=False)(h)
            found.append(jnp.mean(nn.relu(BatchNorm()(h, train)), 1))
        features = jnp.concatenate(found[-2:], -1)
        return features, nn.Dense(self.out)(features)
