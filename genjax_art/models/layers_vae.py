"""A VAE of clips in layers: a few things, each a picture of its own that moves through the frame as it is.

After Hsieh et al. 2018 (arXiv:1806.04166), who took the digits of Moving MNIST apart in this way; see
`moving_layers.py`. The content of a clip is that of its layers, one after the other, and the motion of a frame two
numbers for each: how far down and right its picture is, from -1 to 1 within the frame.

The encoder finds what there is by attention for which layers and ground compete (Locatello et al. 2020,
arXiv:2006.15055), once over all frames, which tells things apart by their looks, and then in each frame, where the mean
place of what a layer won is about where it is. What it looks like is read from the mean over time of what is seen
there: other things pass by.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.coupling import Coupling
from genjax_art.models.layers import Conv, Dense, coarsest, crop, in_float32, pyramid, upsample, wide
from genjax_art.models.moving_layers import Side, darkness, overlaps, side_of
from genjax_art.models.norms import LayerNorm
from genjax_art.models.recurrent import GRU
from genjax_art.models.video_vae import COUPLING_UNITS, Moments, ToMoments, he
from genjax_art.spec import ArraySpec, Label

ROUNDS = 3  # of attention over the whole clip
COARSE = 15  # places of an axis, at most, that attention chooses from
PLACES = 1.5  # times the mean place that a layer won is where it is taken to be at first: attention is never all of it
FAR = 0.1  # of a frame, as its step from one to the next: the prior's numbers are of about 1 in it
FAINT = -3.0  # log-odds of the pixels of a fresh layer
LEAST_LIGHT = 2e-4  # of a pixel on which no layer shines: log-odds stay finite


class Trunk(nn.Module):
    """Frames, one by one, to features of a few places, each of which sees about half of a frame."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        for level, stride in enumerate(pyramid(x.shape[1:-1], above=COARSE)):
            x = nn.relu(Conv(self.width * 2**level, 4, stride, kernel_init=he)(x))
        x = nn.relu(Conv(4 * self.width, 3, kernel_init=he)(x))
        return LayerNorm()(Conv(4 * self.width, 3, kernel_init=he)(x))


class Slots(nn.Module):
    """What there is in a clip: so many vectors, for which places compete, the first ones of layers, the last one of
    the ground. What queries have in common has no effect: their norm has no bias, which Adam would walk at random."""

    slots: int

    @nn.compact
    def __call__(self, seen: Float[Array, "b n d"]) -> Float[Array, "b k d"]:
        size = seen.shape[-1]
        first = self.param("first", nn.initializers.normal(1.0), (self.slots, size))
        slots = jnp.broadcast_to(in_float32(first)[None], (len(seen), self.slots, size)).astype(seen.dtype)
        key, value = (Dense(size, use_bias=False, name=name)(seen) for name in ("key", "value"))
        query, cell, norm = Dense(size, use_bias=False, name="query"), GRU(size), LayerNorm(bias=False)
        further = nn.Sequential([LayerNorm(), Dense(2 * size), nn.relu, Dense(size)])
        for _ in range(ROUNDS):
            won = shares(key[:, None], query(norm(slots)))[:, 0]
            told = jnp.einsum("bkn,bnd->bkd", won, value)
            slots = cell.step(slots.reshape(-1, size), told.reshape(-1, size)).reshape(slots.shape)
            slots = slots + further(slots)
        return slots


def shares(key: Float[Array, "b t n d"], query: Float[Array, "b k d"]) -> Float[Array, "b t k n"]:
    """How much of what a slot has won is at each place of a frame: each place is divided among the slots."""
    score = wide(jnp.einsum("btnd,bkd->btkn", key, query)) * key.shape[-1] ** -0.5
    won = jax.nn.softmax(score, 2) + 1e-6
    return (won / jnp.sum(won, -1, keepdims=True)).astype(key.dtype)


class Encoder(nn.Module):
    layers: int
    content: int  # numbers of a layer
    width: int
    hidden: int
    recurrent: int
    side: Side

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], noise: Float[Array, "b f"], label: Label | None = None
    ) -> tuple[Moments, Moments]:
        """q(f|x) and q(z|x), of any number of frames; neither needs the other's noise, nor a label."""
        del noise, label
        motion = self.motion(x)
        content = ToMoments(self.content, logvar=-2.0, name="content")(self.looks(x, motion.mu))
        return _together(content), _together(motion)

    def motion(self, x: Float[Array, "b t h w c"]) -> Moments:
        """Where each layer is, [b, t, k, 2]."""
        b, t = x.shape[:2]
        maps = Trunk(self.width, name="trunk")(x.reshape(b * t, *x.shape[2:]))
        rows, columns, d = maps.shape[1:]
        places = maps.reshape(b, t, rows * columns, d)
        slots = Slots(self.layers + 1, name="slots")(places.reshape(b, -1, d))
        query = Dense(d, use_bias=False, name="where")(LayerNorm(bias=False)(slots))
        won = shares(Dense(d, use_bias=False, name="place")(places), query)[:, :, :-1]
        told = jnp.einsum("btkn,btnd->btkd", won, Dense(d, name="what")(places))
        axes = (jnp.linspace(-1.0, 1.0, n) if n > 1 else jnp.zeros(1) for n in (rows, columns))
        grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype(won.dtype)
        about = jnp.einsum("btkn,np->btkp", won, grid)
        own = jnp.broadcast_to(in_float32(slots)[:, None, :-1], told.shape).astype(told.dtype)
        h = Dense(self.hidden // 2, kernel_init=he, name="seen")(jnp.concatenate([told, about, own], -1))
        h = jnp.swapaxes(nn.relu(h), 1, 2).reshape(b * self.layers, t, -1)
        start = jnp.zeros((len(h), self.recurrent), h.dtype)
        there = GRU(self.recurrent, name="forwards")(h, start)
        back = GRU(self.recurrent, name="backwards")(h, start, reverse=True)
        h = jnp.swapaxes(jnp.concatenate([h, there, back], -1).reshape(b, self.layers, t, -1), 1, 2)
        found = ToMoments(2, logvar=-5.0, name="motion")(h)
        return Moments(found.mu + PLACES * wide(about), found.logvar)

    def looks(self, x: Float[Array, "b t h w c"], place: Float[Array, "b t k 2"]) -> Float[Array, "b k d"]:
        """Features of what is seen at a layer's place, in the mean of all frames."""
        b, t, height, width, _ = x.shape
        extents = zip((height, width), self.side, strict=True)
        down, right = (overlaps(place[..., axis], *of).astype(x.dtype) for axis, of in enumerate(extents))
        window = jnp.einsum("btkyp,btyxc,btkxq->bkpqc", down, x, right) / t
        h = window.reshape(-1, *window.shape[2:])
        for level, stride in enumerate(pyramid(self.side, above=8)):
            h = nn.relu(Conv(2 * self.width * 2**level, 4, stride, kernel_init=he, name=f"look_{level}")(h))
        return nn.relu(Dense(self.hidden, kernel_init=he, name="looks")(h.reshape(b, self.layers, -1)))


def _together(moments: Moments) -> Moments:
    """Those of all layers, one after the other."""
    return Moments(*(v.reshape(*v.shape[:-2], -1) for v in moments))


class Prior(nn.Module):
    """p(z_t | z_<t) of each layer for itself, all alike: on from where it was, as in the step before but for what a GRU
    over its path so far says."""

    layers: int
    recurrent: int

    def setup(self) -> None:
        self.cell = GRU(self.recurrent)
        self.moments = ToMoments(2, logvar=-4.0)

    def __call__(self, z: Float[Array, "b t m"], label: Label | None = None) -> Moments:
        """The moments of each z_t given the ones before it."""
        del label
        path = jnp.swapaxes(z.reshape(*z.shape[:2], self.layers, 2), 1, 2).reshape(-1, z.shape[1], 2)
        last = jnp.pad(path[:, :-1], ((0, 0), (1, 0), (0, 0)))
        step = jnp.pad(jnp.diff(path, axis=1)[:, :-1], ((0, 0), (2, 0), (0, 0)))[:, : z.shape[1]]
        mu, logvar = self.moments(self.cell(self._see(last, step), self._start(last)))

        def apart(v: Float[Array, "p t 2"]) -> Float[Array, "b t m"]:
            return jnp.swapaxes(v.reshape(len(z), self.layers, -1, 2), 1, 2).reshape(z.shape)

        return Moments(apart(FAR * mu + wide(last) + wide(step)), apart(logvar))

    def drive(self, noise: Float[Array, "b t m"], label: Label | None = None) -> Float[Array, "b t m"]:
        """Motion from standard normal noise: z_t = mu_t + sigma_t noise_t, one after another."""
        del label

        def body(
            module: "Prior", carry: tuple[Array, Array, Array], at: tuple[Array, Array]
        ) -> tuple[tuple[Array, Array, Array], Array]:
            (state, last, step), (noise, moving) = carry, at
            state = module.cell.step(state, module._see(last, step))
            mu, logvar = module.moments(state)
            z = (wide(last) + wide(step) + FAR * mu + jnp.exp(0.5 * logvar) * noise).astype(noise.dtype)
            return (state, z, jnp.where(moving, z - last, 0.0)), z

        scan = nn.scan(body, variable_broadcast="params", split_rngs={"params": False})
        frames = noise.shape[1]
        each = jnp.moveaxis(noise.reshape(*noise.shape[:2], self.layers, 2), 1, 0).reshape(frames, -1, 2)
        nowhere = jnp.zeros_like(each[0])
        moving = jnp.arange(frames) > 0  # the first frame comes from nowhere, and is no step
        _, z = scan(self, (self._start(each[0][:, None]), nowhere, nowhere), (each, moving))
        return jnp.moveaxis(z.reshape(frames, len(noise), -1), 0, 1)

    def _start(self, path: Float[Array, "p t 2"]) -> Float[Array, "p h"]:
        return jnp.zeros((len(path), self.recurrent), path.dtype)

    def _see(self, last: Float[Array, "p *t 2"], step: Float[Array, "p *t 2"]) -> Float[Array, "p *t 4"]:
        return jnp.concatenate([last, step / FAR], -1)


class Decoder(nn.Module):
    spec: ArraySpec
    layers: int
    each: int  # numbers of a layer's content
    width: int
    hidden: int
    side: Side

    classes = 0
    likelihoods = ("bernoulli",)  # which it makes log-odds for

    @property
    def content(self) -> int:
        return self.layers * self.each

    @property
    def motion(self) -> int:
        return self.layers * 2

    @nn.compact
    def __call__(
        self,
        f: Float[Array, "b f"] | Float[Array, "b t f"],
        z: Float[Array, "b t m"],
        label: Label | None = None,
    ) -> Float[Array, "b t h w c"]:
        """Log-odds of the light of as many frames as z has; f is of the clip or of each frame."""
        del label
        f = f if f.ndim == 3 else f[:, None]
        b, s = f.shape[:2]
        height, width, c = self.spec.shape[1:]
        light = jax.nn.sigmoid(self.pictures(f.reshape(b * s * self.layers, self.each)) + FAINT)
        light = light.reshape(b, s, self.layers, *self.side, c)
        place = z.reshape(b, z.shape[1], self.layers, 2)
        dark = jnp.minimum(darkness(light, place, (height, width), 1.0 - LEAST_LIGHT / 2), -LEAST_LIGHT)
        return jnp.log(-jnp.expm1(dark)) - dark

    def pictures(self, f: Float[Array, "n f"]) -> Float[Array, "n p q c"]:
        """The layers' pictures, raw."""
        strides = pyramid(self.side, above=8)
        rows, columns = coarsest(self.side, strides)
        h = nn.relu(Dense(self.hidden, kernel_init=he, name="content")(f))
        h = Dense(rows * columns * 2 * self.width, kernel_init=he, name="base")(h)
        h = nn.relu(h).reshape(-1, rows, columns, 2 * self.width)
        for level in reversed(range(len(strides))):
            h = crop(upsample(h, strides[level]), coarsest(self.side, strides[:level]))
            h = nn.relu(Conv(2 * self.width, 3, kernel_init=he, name=f"level_{level}")(h))
        return Conv(self.spec.channels, 3, name="last")(h)


def build(
    spec: ArraySpec,
    *,
    layers: int = 2,
    content: int = 16,
    width: int = 16,
    hidden: int = 256,
    recurrent: int = 128,
    couplings: int = 8,
    share: float = 0.5,
) -> dict[str, nn.Module]:
    """Encoder, prior of the motion and decoder of clips of any extents; content [b, layers * content], motion
    [b, t, layers * 2]. For the likelihood `bernoulli`; without labels.

    Args:
      spec: of the data: bright things on a dark ground.
      layers: how many things there may be.
      content: how many numbers describe what a layer looks like.
      width: filters of the convolutions at the finest resolution; a layer's picture is made with twice as many.
      hidden: units of the dense layers between convolutions and latents.
      recurrent: units of the GRUs, of the prior and of each direction of the encoder.
      couplings: layers of the contents' learned prior, of 64 units each; 0 leaves it standard normal.
      share: of a frame's height and width that the picture of a layer has; things in it should fit.

    Raises:
      UsageError: the data are no clips, a share that is none, or no layers.
    """
    side = side_of(spec, share, "layers_vae", layers=layers)
    learned = {"content_prior": Coupling(layers * content, couplings, COUPLING_UNITS)} if couplings else {}
    return {
        **learned,
        "encoder": Encoder(layers, content, width, hidden, recurrent, side),
        "prior": Prior(layers, recurrent),
        "decoder": Decoder(spec, layers, content, width, hidden, side),
    }
