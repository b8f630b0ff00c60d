"""A sequential VAE of clips with content and motion apart: one latent of a clip, and a few numbers for each frame.

Li & Mandt 2018, "Disentangled Sequential Autoencoder" (arXiv:1803.02991), with their full q: p(x, z, f) = p(f) prod_t
p(z_t | z_<t) p(x_t | f, z_t), and q(f | x) q(z | f, x). Frames are convolved one by one, folded into the batch.

Unlike the paper: p(f) is learned (`coupling.py`), since the data's contents are few and leave most of a standard normal
distribution empty. GRU instead of LSTM cells. The content is read from local features, of each the largest over all
places and of that the mean over all frames, which holds neither the order of frames nor, but for what the borders tell,
where something is. And in the decoder the motion makes the maps, whose channels the content scales and shifts (FiLM,
Perez et al. 2018, arXiv:1709.07871), so that what is where are two factors from the start.
"""

from math import prod
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.coupling import Coupling
from genjax_art.models.layers import (
    Conv,
    ConvTranspose,
    Dense,
    again,
    check_clips,
    coarsest,
    crop,
    in_float32,
    one_hot,
    pyramid,
    wide,
)
from genjax_art.models.recurrent import GRU
from genjax_art.spec import ArraySpec, Label

he = nn.initializers.he_normal()
COUPLING_UNITS = 64
MAX_LOGVAR = 8.0  # of motion and content, in either sign: sigma from e^-4 to e^4


class Moments(NamedTuple):
    """Of a normal distribution, in float32."""

    mu: Float[Array, "b *latent"]
    logvar: Float[Array, "b *latent"]  # within +-MAX_LOGVAR


class ToMoments(nn.Module):
    """Features to mu and logvar; logvar saturates smoothly, so that sigma and 1 / sigma stay finite."""

    latents: int
    logvar: float = 0.0  # at first

    @nn.compact
    def __call__(self, h: Float[Array, "*b d"]) -> Moments:
        first = nn.initializers.constant(self.logvar)
        mu, logvar = Dense(self.latents, name="mu")(h), Dense(self.latents, bias_init=first, name="logvar")(h)
        return Moments(wide(mu), MAX_LOGVAR * jnp.tanh(wide(logvar) / MAX_LOGVAR))


class Trunk(nn.Module):
    """Frames, one by one, to maps of at most 7 positions an axis."""

    width: int
    kernel: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        for level, stride in enumerate(pyramid(x.shape[1:-1], above=7)):
            x = nn.relu(Conv(self.width * 2**level, self.kernel, stride, kernel_init=he)(x))
        return x


class Encoder(nn.Module):
    content: int
    motion: int
    width: int
    kernel: int
    hidden: int
    recurrent: int
    classes: int  # 0: unconditional
    remat: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], noise: Float[Array, "b f"], label: Label | None = None
    ) -> tuple[Moments, Moments]:
        """q(f|x), and q(z|f,x) for the f = mu + sigma * `noise`, of any number of frames."""
        b, t = x.shape[:2]
        maps = again(Trunk, self.remat)(self.width, self.kernel, name="trunk")(x.reshape(b * t, *x.shape[2:]))
        seen = _label_of(label, self.classes, maps, (b,))
        local = nn.relu(Dense(self.hidden, kernel_init=he, name="local")(maps))
        pooled = jnp.mean(jnp.max(local.reshape(b, t, -1, self.hidden), 2), 1)
        h = nn.relu(Dense(self.hidden, kernel_init=he, name="clip")(jnp.concatenate([pooled, seen], -1)))
        content = ToMoments(self.content, name="content")(h)
        f = content.mu + jnp.exp(0.5 * content.logvar) * wide(noise)
        still = jnp.concatenate([f.astype(maps.dtype), seen], -1)
        h = Dense(self.hidden, name="frame")(maps.reshape(b, t, -1))
        h = nn.relu(h + Dense(self.hidden, use_bias=False, name="given")(still)[:, None])
        start = jnp.zeros((b, self.recurrent), h.dtype)
        there = GRU(self.recurrent, name="forwards")(h, start)
        back = GRU(self.recurrent, name="backwards")(h, start, reverse=True)
        return content, ToMoments(self.motion, name="motion")(jnp.concatenate([h, there, back], -1))


class Prior(nn.Module):
    """p(z_t | z_<t): a GRU over the motion so far."""

    motion: int
    recurrent: int
    classes: int

    def setup(self) -> None:
        self.cell = GRU(self.recurrent)
        self.moments = ToMoments(self.motion)

    def __call__(self, z: Float[Array, "b t m"], label: Label | None = None) -> Moments:
        """The moments of each z_t given the ones before it."""
        before = jnp.pad(z[:, :-1], ((0, 0), (1, 0), (0, 0)))
        return self.moments(self.cell(self._see(before, label), self._start(z)))

    def drive(self, noise: Float[Array, "b t m"], label: Label | None = None) -> Float[Array, "b t m"]:
        """Motion from standard normal noise: z_t = mu_t + sigma_t noise_t, one after another."""

        def body(module: "Prior", carry: tuple[Array, Array], noise: Array) -> tuple[tuple[Array, Array], Array]:
            state, before = carry
            state = module.cell.step(state, module._see(before[:, None], label)[:, 0])
            mu, logvar = module.moments(state)
            z = (mu + jnp.exp(0.5 * logvar) * noise).astype(noise.dtype)
            return (state, z), z

        scan = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
        _, z = scan(self, (self._start(noise), jnp.zeros_like(noise[:, 0])), jnp.swapaxes(noise, 0, 1))
        return jnp.swapaxes(z, 0, 1)

    def _start(self, z: Array) -> Float[Array, "b h"]:
        return jnp.zeros((len(z), self.recurrent), z.dtype)

    def _see(self, before: Array, label: Array | None) -> Float[Array, "b t d"]:
        return jnp.concatenate([before, _label_of(label, self.classes, before, before.shape[:2])], -1)


class Picture(nn.Module):
    """A vector of each frame, and one of the clip (s: 1) or another one of each frame (s: t), to frames."""

    spec: ArraySpec
    width: int
    kernel: int

    @nn.compact
    def __call__(self, h: Float[Array, "b t d"], still: Float[Array, "b s k"]) -> Float[Array, "b t h w c"]:
        space = self.spec.space[1:]
        strides = pyramid(space, above=7)
        base = coarsest(space, strides)
        widest = self.width * 2 ** max(0, len(strides) - 1)
        b, t = h.shape[:2]

        def styled(y: Float[Array, "n i j c"]) -> Float[Array, "n i j c"]:
            gain, bias = jnp.split(in_float32(Dense(2 * y.shape[-1])(still))[:, :, None, None], 2, -1)
            frames = wide(y).reshape(b, t, *y.shape[1:])
            return nn.relu(frames * (1.0 + gain) + bias).astype(y.dtype).reshape(y.shape)

        y = styled(Dense(prod(base) * widest, kernel_init=he)(h).reshape(-1, *base, widest))
        for level in reversed(range(1, len(strides))):
            features = self.width * 2 ** (level - 1)
            y = ConvTranspose(features, self.kernel, strides[level], kernel_init=he)(y)
            y = styled(crop(y, coarsest(space, strides[:level])))
        last = ConvTranspose(self.spec.channels, self.kernel, strides[0]) if strides else Conv(self.spec.channels, 3)
        return crop(last(y), space).reshape(b, t, *self.spec.shape[1:])


class Decoder(nn.Module):
    spec: ArraySpec
    content: int
    motion: int
    width: int
    kernel: int
    hidden: int
    classes: int
    remat: bool

    @nn.compact
    def __call__(
        self,
        f: Float[Array, "b f"] | Float[Array, "b t f"],
        z: Float[Array, "b t m"],
        label: Label | None = None,
    ) -> Float[Array, "b t h w c"]:
        """Raw outputs, which a likelihood reads, of as many frames as z has; f is of the clip or of each frame."""
        f = f if f.ndim == 3 else f[:, None]
        still = jnp.concatenate([f, _label_of(label, self.classes, f, f.shape[:2])], -1)
        of_clip = Dense(self.hidden, name="content")(still)
        h = nn.relu(of_clip + Dense(self.hidden, use_bias=False, name="motion")(z))
        h = nn.relu(Dense(self.hidden, kernel_init=he, name="frame")(h))
        return again(Picture, self.remat)(self.spec, self.width, self.kernel, name="picture")(h, still)


def _label_of(label: Array | None, classes: int, like: Array, batch: tuple[int, ...]) -> Float[Array, "*b classes"]:
    """The label as a row of the identity, the same in all of `batch`; without one nothing."""
    if label is None or not classes:
        return jnp.zeros((*batch, 0), like.dtype)
    row = one_hot(label, classes, like.dtype)
    return jnp.broadcast_to(row.reshape(len(row), *(1,) * (len(batch) - 1), classes), (*batch, classes))


def build(
    spec: ArraySpec,
    *,
    content: int = 16,
    motion: int = 6,
    width: int = 32,
    kernel: int = 4,
    hidden: int = 256,
    recurrent: int = 128,
    couplings: int = 8,
    conditional: bool = False,
    remat: bool = False,
) -> dict[str, nn.Module]:
    """Encoder, prior of the motion and decoder of clips of any extents; content [b, content], motion [b, t, motion].

    Args:
      spec: of the data.
      content: how many numbers describe what is the same in all frames.
      motion: how many numbers describe each frame beyond that. Few: what they can hold of the content, they may.
      width: filters of the convolutions at the finest resolution; twice as many after each halving.
      kernel: side of the stride-2 convolutions' kernels, in pixels.
      hidden: units of the dense layers between convolutions and latents.
      recurrent: units of the GRUs, of the prior and of each direction of the encoder.
      couplings: layers of the content's learned prior, of 64 units each; 0 leaves it standard normal.
      conditional: all networks but that prior get the class label as a further input.
      remat: compute the insides of the convolutional parts again for the gradient instead of keeping them.

    Raises:
      UsageError: the data are no clips.
    """
    check_clips(spec, "video_vae")
    classes = len(spec.classes) if conditional else 0
    learned = {"content_prior": Coupling(content, couplings, COUPLING_UNITS)} if couplings else {}
    return {
        **learned,
        "encoder": Encoder(content, motion, width, kernel, hidden, recurrent, classes, remat),
        "prior": Prior(motion, recurrent, classes),
        "decoder": Decoder(spec, content, motion, width, kernel, hidden, classes, remat),
    }
