"""MoCoGAN: clips from a content, which stays, and a motion, which a recurrent network makes of noise for each frame.

Tulyakov, Liu, Yang & Kautz 2018 (arXiv:1707.04993). A GRU turns the motion noise into motion codes: the noise of the
first frame chooses the state to start from, as a draw of its own does there, and the noise of each frame moves it, by
little at first, so that motions are smooth from the beginning of a training (here, not in the paper). A generator of
pictures turns content, motion code and label of each frame into that frame, all frames at once: transposed
convolutions of stride 2 from 4 positions an axis, the last one to the channels of the data. One judge is given single
frames, another whole clips, whose time it halves as it halves height and width: the discriminator of `dcgan.py` with
two and with three axes.
"""

from collections.abc import Callable
from math import prod
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.models import dcgan
from genjax_art.models.dcgan import DiscriminatorNorm, glorot
from genjax_art.models.layers import (
    Conv,
    ConvTranspose,
    Dense,
    again,
    coarsest,
    crop,
    everywhere,
    in_float32,
    into_range,
    one_hot,
    pyramid,
)
from genjax_art.models.norms import GeneratorNorm, normalised
from genjax_art.models.recurrent import GRU
from genjax_art.spec import ArraySpec, Key, Label

Latents = dict[str, Array]
Finish = Literal["transposed", "convolution"]
KICK = nn.initializers.constant(0.1)  # how far the noise of a frame moves the state, at first


class Activated(nn.Module):
    """Normalised, then LeakyReLU 0.2."""

    norm: GeneratorNorm
    classes: int

    @nn.compact
    def __call__(self, h: Float[Array, "n *space c"], label: Label | None, train: bool) -> Float[Array, "n *space c"]:
        return nn.leaky_relu(normalised(h, self.norm, self.classes, label, train), 0.2)


class Level(nn.Module):
    """A transposed convolution of these strides to these extents."""

    width: int
    kernel: int
    stride: tuple[int, ...]
    space: tuple[int, ...]
    norm: GeneratorNorm
    classes: int

    @nn.compact
    def __call__(self, h: Float[Array, "n *space c"], label: Label | None, train: bool) -> Float[Array, "n *space2 d"]:
        h = ConvTranspose(self.width, self.kernel, self.stride, self.norm == "none", kernel_init=glorot)(h)
        return Activated(self.norm, self.classes)(crop(h, self.space), label, train)


class Generator(nn.Module):
    """Of as many frames as the motion latents have, whatever the number of the spec. The content may be one of each
    frame, [b, t, c]."""

    spec: ArraySpec  # of clips
    content: int
    motion: int
    state: int
    width: int
    growth: int
    kernel: int
    norm: GeneratorNorm
    classes: int  # 0: unconditional
    finish: Finish
    remat: bool

    def draw(self, normal: Callable[..., Array], key: Key, n: int, frames: int | None = None) -> Latents:
        """Latents of n clips, content [n, c] and motion [n, frames, m], of numbers that normal(key, shape) draws."""
        shapes = {"content": (n, self.content), "motion": (n, frames or self.spec.shape[0], self.motion)}
        return {name: normal(fold(key, name), shape) for name, shape in shapes.items()}

    @nn.compact
    def __call__(self, z: Latents, label: Label | None = None, train: bool = True) -> Float[Array, "b t h w c"]:
        content, noise = z["content"], z["motion"]
        rows, frames = noise.shape[:2]
        content = content if content.ndim == 3 else repeated(content, frames)
        if label is not None:  # content and motion may both depend on it
            hot = repeated(one_hot(label, self.classes, noise.dtype), frames)
            content, noise = (jnp.concatenate([own, hot], -1) for own in (content, noise))
            label = jnp.repeat(label, frames, 0)
        codes = motion_codes(noise, Dense(self.state), self.param("kick", KICK, (noise.shape[-1],)), GRU(self.state))
        each = jnp.concatenate([content, codes], -1)
        x = self.pictures(each.reshape(rows * frames, -1), label, train)
        return x.reshape(rows, frames, *x.shape[1:])

    def pictures(self, h: Float[Array, "n d"], label: Label | None, train: bool) -> Float[Array, "n h w c"]:
        """A picture of each row."""
        space = self.spec.space[1:]
        strides = pyramid(space, above=4)
        base = coarsest(space, strides)
        widths = [self.width * self.growth ** max(level - 1, 0) for level in range(len(strides) + 1)]  # finest first
        h = Dense(prod(base) * widths[-1], use_bias=self.norm == "none")(h).reshape(-1, *base, widths[-1])
        h = Activated(self.norm, self.classes)(h, label, train)
        coarse = 0 if self.finish == "convolution" else 1
        for level in range(len(strides) - 1, coarse - 1, -1):
            of = (widths[level], self.kernel, strides[level], coarsest(space, strides[:level]), self.norm, self.classes)
            h = again(Level, self.remat, static=(3,))(*of, name=f"Level_{level}")(h, label, train)
        if self.finish == "convolution":
            h = Conv(self.spec.channels, 3, kernel_init=glorot)(h)
        else:
            h = ConvTranspose(self.spec.channels, self.kernel, strides[0] if strides else 1, kernel_init=glorot)(h)
        return into_range(crop(h, space), self.spec)


def motion_codes(
    noise: Float[Array, "b t m"], start: Dense, kick: Float[Array, " m"], cell: GRU
) -> Float[Array, "b t s"]:
    """The motion code of each frame: the noise of the first one chooses the state to start from, that of each moves it,
    each number by its `kick`."""
    return cell(noise * everywhere(kick, noise), jnp.tanh(start(noise[:, 0])))


def repeated(rows: Float[Array, "b d"], frames: int) -> Float[Array, "b t d"]:
    """The same numbers for each frame."""
    return jnp.broadcast_to(in_float32(rows)[:, None], (len(rows), frames, rows.shape[-1])).astype(rows.dtype)


def judges(
    frames_width: int,
    clips_width: int,
    growth: int,
    kernel: int,
    norm: DiscriminatorNorm,
    classes: int,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """One of single frames, one of clips; the options are those of `build`."""
    widths = {"frames": frames_width, "clips": clips_width}
    return {name: dcgan.Discriminator(w, growth, kernel, norm, 0, classes, 0, remat) for name, w in widths.items()}


def build(
    spec: ArraySpec,
    *,
    content: int = 50,
    motion: int = 10,
    state: int = 64,
    width: int = 32,
    frames_width: int = 32,
    clips_width: int = 32,
    growth: int = 2,
    kernel: int = 4,
    generator_norm: GeneratorNorm = "batch",
    discriminator_norm: DiscriminatorNorm = "none",
    conditional: bool = False,
    finish: Finish = "transposed",
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Networks of a GAN of clips: generator, judge of frames, judge of clips; z {content [b, c], motion [b, t, m]}.

    Args:
      spec: of clips (frames, height, width, channels).
      content: how many latents stay the same throughout a clip.
      motion: how many latents each frame has of its own.
      state: size of the recurrent state, which is the motion code of a frame.
      width: filters of the generator at half the extents, and at the full ones if it ends in a convolution.
      frames_width: filters of the first convolution of the judge of single frames.
      clips_width: filters of the first convolution of the judge of clips, which has three axes.
      growth: factor by which the number of filters grows at each halving of the resolution.
      kernel: side of all convolutions' kernels, in pixels and in frames.
      generator_norm: none; batch, by the statistics of all frames of a batch; conditional_batch, the same with gain and
        bias of each class (arXiv:1707.00683).
      discriminator_norm: of both judges: none; batch, which excludes gradient penalties; spectral (arXiv:1802.05957).
      conditional: all networks get the class label: the generator beside both kinds of latents, the judges by
        projection (arXiv:1802.05637).
      finish: how the generator ends: transposed, a transposed convolution to the channels, as the paper's; convolution,
        one of `width` filters and then a 3x3 convolution at full extents, which leaves no chessboard.
      remat: compute each level of a network again for the gradient instead of keeping it: less memory, more time.

    Raises:
      UsageError: the data are no clips.
    """
    if len(spec.shape) != 4:
        raise UsageError(f"mocogan makes clips (frames, height, width, channels), not {spec.shape}: choose dcgan")
    classes = len(spec.classes) if conditional else 0

    return {
        "generator": Generator(
            spec, content, motion, state, width, growth, kernel, generator_norm, classes, finish, remat
        ),
        **judges(frames_width, clips_width, growth, kernel, discriminator_norm, classes, remat),
    }
