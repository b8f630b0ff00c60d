"""A GAN of clips in layers: what is shown is drawn once a clip, and moves through it as it is.

MoCoGAN (Tulyakov et al. 2018, arXiv:1707.04993; see `mocogan.py`) with content and motion apart by what they can do: of
the content the layers of a film are made (`moving_layers.py`), and of the motion's noise a GRU makes where they are. So
a thing keeps its form and its colour, whatever it has learned, and a picture is made for a clip, not for a frame.
Nothing turns, grows or moves its arms. Judges as in `mocogan.py`.
"""

from collections.abc import Callable
from math import prod

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.keys import fold
from genjax_art.latents import Latents
from genjax_art.models.dcgan import DiscriminatorNorm, glorot
from genjax_art.models.layers import Conv, Dense, coarsest, crop, one_hot, pyramid, upsample, wide
from genjax_art.models.mocogan import KICK, Activated, judges, motion_codes, repeated
from genjax_art.models.moving_layers import Side, darkness, side_of
from genjax_art.models.norms import GeneratorNorm
from genjax_art.models.recurrent import GRU
from genjax_art.spec import ArraySpec, Key, Label

MOST_LIGHT = 0.9999  # of all that a layer can have: what shines behind it is never out of reach


class Pictures(nn.Module):
    """Pictures of these extents, their light from 0 to 1: from at most 4 positions an axis by repeated pixels and 3x3
    convolutions, which leave no chessboard."""

    side: Side
    channels: int
    width: int
    growth: int
    norm: GeneratorNorm
    classes: int

    @nn.compact
    def __call__(self, h: Float[Array, "n f"], label: Label | None, train: bool) -> Float[Array, "n p q c"]:
        if label is not None:
            h = jnp.concatenate([h, one_hot(label, self.classes, h.dtype)], -1)
        strides = pyramid(self.side, above=4)
        base, bias = coarsest(self.side, strides), self.norm == "none"
        width = self.width * self.growth ** len(strides)
        h = Dense(prod(base) * width, use_bias=bias, name="base")(h).reshape(-1, *base, width)
        h = Activated(self.norm, self.classes)(h, label, train)
        for level in reversed(range(len(strides))):
            h = crop(upsample(h, strides[level]), coarsest(self.side, strides[:level]))
            width = self.width * self.growth**level
            h = Conv(width, bias=bias, kernel_init=glorot, name=f"level_{level}")(h)
            h = Activated(self.norm, self.classes)(h, label, train)
        return jax.nn.sigmoid(Conv(self.channels, kernel_init=glorot, name="last")(h))


class Generator(nn.Module):
    """Of as many frames as the motion latents have, whatever the number of the spec. The content may be one of each
    frame, [b, t, c]."""

    spec: ArraySpec  # of clips
    layers: int
    each: int  # numbers of a layer's content
    motion: int
    state: int
    width: int
    growth: int
    norm: GeneratorNorm
    classes: int  # 0: unconditional
    side: Side
    fine: int

    def draw(self, normal: Callable[..., Array], key: Key, n: int, frames: int | None = None) -> Latents:
        """Latents of n clips, content [n, layers * each] and motion [n, frames, m], that normal(key, shape) draws."""
        shapes = {"content": (n, self.layers * self.each), "motion": (n, frames or self.spec.shape[0], self.motion)}
        return {name: normal(fold(key, name), shape) for name, shape in shapes.items()}

    @nn.compact
    def __call__(self, z: Latents, label: Label | None = None, train: bool = True) -> Float[Array, "b t h w c"]:
        content, noise = z["content"], z["motion"]
        content = content if content.ndim == 3 else content[:, None]
        rows, times = content.shape[:2]
        each = None if label is None else jnp.repeat(label, times * self.layers, 0)
        lines, columns = (self.fine * extent for extent in self.side)
        pictures = Pictures((lines, columns), self.spec.channels, self.width, self.growth, self.norm, self.classes)
        light = pictures(content.reshape(rows * times * self.layers, self.each), each, train)
        light = light.reshape(rows, times, self.layers, lines, columns, self.spec.channels)
        height, breadth = self.spec.space[1:]
        dark = darkness(light, self.places(noise, label), (height, breadth), MOST_LIGHT, self.fine)
        return self.spec.low - (self.spec.high - self.spec.low) * jnp.expm1(dark)

    def places(self, noise: Float[Array, "b t m"], label: Label | None) -> Float[Array, "b t k 2"]:
        """Where the layers are."""
        if label is not None:
            hot = repeated(one_hot(label, self.classes, noise.dtype), noise.shape[1])
            noise = jnp.concatenate([noise, hot], -1)
        kick = self.param("kick", KICK, (noise.shape[-1],))
        codes = motion_codes(noise, Dense(self.state, name="start"), kick, GRU(self.state, name="codes"))
        place = jnp.tanh(wide(Dense(2 * self.layers, name="place")(codes)))
        return place.reshape(*place.shape[:2], self.layers, 2)


def build(
    spec: ArraySpec,
    *,
    layers: int = 1,
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
    share: float = 0.5,
    fine: int = 2,
) -> dict[str, nn.Module]:
    """Networks of a GAN of clips: generator, judge of frames, judge of clips; z {content [b, layers * c], motion
    [b, t, m]}.

    Args:
      spec: of clips (frames, height, width, channels): bright things on a dark ground.
      layers: how many things there are in a clip.
      content: how many latents choose what a layer looks like.
      motion: how many latents each frame has of its own.
      state: size of the recurrent state that places are made of.
      width: filters of the last layers of the generator of pictures.
      frames_width: filters of the first convolution of the judge of single frames.
      clips_width: filters of the first convolution of the judge of clips, which has three axes.
      growth: factor by which the number of filters grows at each halving of the resolution.
      kernel: side of the judges' kernels, in pixels and in frames.
      generator_norm: none; batch; conditional_batch, with gain and bias of each class (arXiv:1707.00683).
      discriminator_norm: of both judges: none; batch, which excludes gradient penalties; spectral (arXiv:1802.05957).
      conditional: all networks get the class label: the generator beside both kinds of latents, the judges by
        projection (arXiv:1802.05637).
      share: of a frame's height and width that the picture of a layer has; things in it should fit.
      fine: pixels of that picture, along each axis, in the room of one of the frame: with more, edges are as sharp
        wherever it is.

    Raises:
      UsageError: the data are no clips, a share that is none, or no layers.
    """
    side = side_of(spec, share, "layers_gan", layers=layers, fine=fine)
    classes = len(spec.classes) if conditional else 0

    return {
        "generator": Generator(
            spec, layers, content, motion, state, width, growth, generator_norm, classes, side, fine
        ),
        **judges(frames_width, clips_width, growth, kernel, discriminator_norm, classes),
    }
