"""Wavelet scattering: how much of strokes in eight directions there is, and where, at several scales. No training.

Bruna & Mallat 2013 (arXiv:1203.1513), to the second order, with real filters of seven pixels on a pyramid in place of
Morlet wavelets in the Fourier domain. Strokes and what they are put together to are seen, not what they mean.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax_art.data.batches import to_range
from genjax_art.data.contract import Source, pieces
from genjax_art.errors import UsageError
from genjax_art.features.extractor import Extractor
from genjax_art.metrics.stream import evenly
from genjax_art.models.convolution import conv

VERSION = 1
DIRECTIONS, SIDE = 8, 7  # of the filters
WAVE, WIDTH = 4.0, 1.5  # pixels: wavelength, and deviation of the Gaussian around it
PLACES = {0: 4, 1: 4, 2: 2}  # an axis, over which each order is averaged
EPSILON = 1e-6  # under the root, so that its slope is finite
LARGEST = 64  # pixels
FRAMES = 2  # of a clip
MOST, PIECE = 1_000, 250  # training examples from which the features' units come
LEAST = 0.05  # of the mean unit: no feature's is less


def build(known: Source, held: Source) -> Extractor:
    """Scattering coefficients of every channel, of clips those of some frames and of what changes to the next one;
    each less its mean over training examples, in its deviation there.

    Raises:
      UsageError: arrays without height and width.
    """
    del held
    spec = known.spec
    if len(spec.space) not in (2, 3):
        raise UsageError(f"feature extractor scattering needs pictures or clips, got arrays of {spec.shape}")
    step = jax.jit(of_clips if len(spec.space) == 3 else lambda x: scattering(reduced(x)))

    some = pieces(known, evenly(len(known), MOST), PIECE)
    rows = np.concatenate([np.asarray(step(to_range(piece["x"], spec)), np.float64) for piece in some])
    unit = np.maximum(rows.std(0), LEAST * rows.std(0).mean() or 1.0)
    weights = {"mean": rows.mean(0).astype(np.float32), "unit": unit.astype(np.float32)}
    mean, unit = (weights[name][None] for name in ("mean", "unit"))

    def apply(x: Float[Array, "b *shape"]) -> Mapping[str, Float[Array, "b _"]]:
        return {"features": (step(x) - mean) / unit}

    rule = f"linear with antialiasing to {LARGEST} pixels at most, as {spec.low:g} to {spec.high:g}"
    return Extractor("scattering", VERSION, rule, apply, weights)


def reduced(x: Float[Array, "b *space c"]) -> Float[Array, "b *space2 c"]:
    """Pictures or frames with their longer side at 64 pixels, if it is longer: memory and time stay bounded."""
    *before, h, w, c = x.shape
    longer = max(h, w)
    if longer <= LARGEST:
        return x
    side = (max(1, round(n * LARGEST / longer)) for n in (h, w))
    return jax.image.resize(x, (*before, *side, c), "linear")


def of_clips(x: Float[Array, "b t h w c"]) -> Float[Array, "b d"]:
    """Means of the coefficients of two frames, evenly chosen, and of the differences to the frames after them."""
    b, t = x.shape[:2]
    some = np.linspace(0, max(t - 2, 0), min(FRAMES, max(t - 1, 1))).astype(np.int64)
    shown, after = (reduced(x[:, places]) for places in (some, np.minimum(some + 1, t - 1)))
    frame = shown.shape[2:]
    both = [scattering(part.reshape(-1, *frame)).reshape(b, len(some), -1).mean(1) for part in (shown, after - shown)]
    return jnp.concatenate(both, -1)


def scattering(x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
    """Coefficients of orders 0, 1 and 2 of each channel: of the blurred picture; of the moduli of oriented filters at
    each scale; and of those moduli, filtered once more at the next coarser scale."""
    b, h, w, _ = x.shape
    filters, found, blurred = oriented(), list[Array](), _maps(x.astype(jnp.float32))
    for _ in range(scales(h, w)):
        first = modulus(blurred, filters)
        second = modulus(_maps(_half(first)), filters)
        found += [_averaged(first, 1), _averaged(second, 2)]
        blurred = _half(blurred)
    return jnp.concatenate([part.reshape(b, -1) for part in (*found, _averaged(blurred, 0))], -1)


def scales(h: int, w: int) -> int:
    """How many: the side at the coarsest is from 11 to 22 pixels; of small pictures one."""
    return max(1, round(float(np.log2(min(h, w) / 8))))


def oriented() -> Float[np.ndarray, "7 7 1 16"]:
    """Pairs of an even and an odd wave under a Gaussian for each direction, of mean 0 and length 1."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    bump = np.exp(-(x**2 + y**2) / (2 * WIDTH**2))
    pairs = []
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        along = 2 * np.pi / WAVE * (x * np.cos(angle) + y * np.sin(angle))
        pairs += [bump * (wave - (bump * wave).sum() / bump.sum()) for wave in (np.cos(along), np.sin(along))]
    stack = np.stack(pairs, -1)
    return (stack / np.linalg.norm(stack, axis=(0, 1)))[:, :, None].astype(np.float32)


def modulus(x: Float[Array, "b h w 1"], filters: Float[np.ndarray, "k k 1 n"]) -> Float[Array, "b h w m"]:
    """The length of each pair of filtered values."""
    reach = SIDE // 2
    padded = jnp.pad(x, [(0, 0), (reach, reach), (reach, reach), (0, 0)], mode="edge")  # a border is no stroke
    y = conv(padded, jnp.asarray(filters), (1, 1), "VALID", 1)
    return jnp.sqrt(y[..., ::2] ** 2 + y[..., 1::2] ** 2 + EPSILON)


def _half(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    b, h, w, c = x.shape
    return jax.image.resize(x, (b, (h + 1) // 2, (w + 1) // 2, c), "linear")


def _maps(x: Float[Array, "b h w c"]) -> Float[Array, "m h w 1"]:
    return x.transpose(0, 3, 1, 2).reshape(-1, *x.shape[1:3], 1)


def _averaged(x: Float[Array, "b h w c"], order: int) -> Float[Array, "b p q c"]:
    return jax.image.resize(x, (len(x), PLACES[order], PLACES[order], x.shape[-1]), "linear")
