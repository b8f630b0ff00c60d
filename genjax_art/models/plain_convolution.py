"""The CPU forms of a convolution, its input gradient and its kernel gradient: plain convolutions and products.

*Plain* means: no dilated input, no batch groups, no padding below zero; only these reach XLA's CPU libraries
(YNNPACK, and on jax ≥ 0.12 oneDNN). With y[o] = Σ_k x[o·s + k − low] w[k], in one dimension:

* input gradient, phase r of the stride: x̄[q·s + r − low] = Σ_m ȳ[q − m] w[r + s·m], one plain convolution for
  each r < s, interleaved on the extent that covers all phases, then cropped (odd extents cost nothing);
* kernel gradient: w̄[k] = Σ_o x[o·s + k − low] ȳ[o], x convolved with the dilated *kernel* ȳ, batch and
  channels having changed places;
* few output channels (5x5, 128 -> 1) leave a convolution's registers empty: one matrix product gives the
  contribution of every tap, their shifted sum the result.

Which form is quickest was measured on two cores with jax 0.10.2 and 0.12, there with and without oneDNN.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import product
from operator import add

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# jax 0.12 is compiled with oneDNN (train/compile.py), which is good at groups and large kernels; YNNPACK is not.
ONEDNN = jax.__version_info__ >= (0, 12)
# The numbers below were chosen by timing convolutions on CPU with jax 0.10.2 and 0.12.
FEW = 4  # output channels, below which a product and shifted sums are faster
MANY = 16  # input channels, from which on they are
APART = 64  # groups up to which it pays to compile them one by one
# Bytes of x and ȳ in one kernel gradient: those of more than the first are cut to pieces of the second, which stay in
# the caches between their transposition and their use.
AT_ONCE, PIECE = (6 * 2**20, 2 * 2**20) if ONEDNN else (3 * 2**19, 2**20)
PIECES = 16  # at most: each is one more convolution to compile
TERMS = 4  # of a sum at most; a longer one is a product with ones: XLA would repeat the sum in each loop that reads it


@dataclass(frozen=True)
class Geometry:
    """What the shapes leave open of y[o] = Σ_k x[o·stride + k − low] w[k], x having extents `space`."""

    strides: tuple[int, ...]
    low: tuple[int, ...]
    outputs: tuple[int, ...]
    space: tuple[int, ...]
    window: tuple[int, ...]
    groups: int = 1

    @property
    def pads(self) -> list[tuple[int, int]]:
        """(low, high) with which exactly `outputs` come out; below zero where x is not read to its end."""
        dims = zip(self.strides, self.low, self.outputs, self.space, self.window, strict=True)
        return [(lo, (o - 1) * s + k - n - lo) for s, lo, o, n, k in dims]

    def mirrored(self) -> "Geometry":
        """Of stride 1: x as the gradient of y, with the window reversed."""
        low = tuple(k - 1 - lo for k, lo in zip(self.window, self.low, strict=True))
        return replace(self, low=low, outputs=self.space, space=self.outputs)

    @property
    def mirrors(self) -> bool:
        return self.groups == 1 and max(self.strides) == 1 and min(self.mirrored().low) >= 0


def layout(rank: int, *parts: str) -> tuple[str, str, str]:
    """Dimension numbers from e.g. "N.C", ".IO", "N.C", where "." stands for the spatial axes."""
    lhs, rhs, out = (part.replace(".", "DHW"[3 - rank :]) for part in parts)
    return lhs, rhs, out


def convolution(x: Float[Array, "b ..."], w: Float[Array, "..."], *, geometry: Geometry) -> Float[Array, "b ..."]:
    """y of x and w."""
    g = geometry
    if g.mirrors and w.shape[-1] <= FEW and w.shape[-2] >= MANY:
        return _product_then_sums(x, _reversed(w).swapaxes(-1, -2), g.mirrored())
    x, pads = _padding(x, g.pads)
    return _convolve(x, w, g.strides, pads, g.groups)


def input_gradient(y: Float[Array, "b ..."], w: Float[Array, "..."], *, geometry: Geometry) -> Float[Array, "b ..."]:
    """x̄ of ȳ and w."""
    g = geometry
    if g.groups == 1 and w.shape[-2] <= FEW and w.shape[-1] >= MANY:
        return _product_then_sums(y, w, g)
    w = w.reshape(*g.window, w.shape[-2], g.groups, -1)  # exchange the channels within each group
    w = jnp.moveaxis(w, (-3, -1), (-1, -3)).reshape(*g.window, -1, g.groups * w.shape[-3])
    phases = []
    for phase, spans in _phases(g):
        taps = w[tuple(slice(r, None, s) for r, s in zip(phase, g.strides, strict=True))]
        covers = zip(taps.shape, spans, y.shape[1:-1], strict=False)
        source, pads = _padding(y, [(m - 1 - first, last - o) for m, (first, last), o in covers])
        if 0 in taps.shape or 0 in source.shape:
            phases.append(jnp.zeros((y.shape[0], *(b - a for a, b in spans), w.shape[-1]), y.dtype))
        else:
            phases.append(_convolve(source, _reordered(taps), (1,) * len(g.space), pads, g.groups))
    return _interleave(phases, g)


def kernel_gradient(x: Float[Array, "b ..."], y: Float[Array, "b ..."], *, geometry: Geometry) -> Float[Array, "..."]:
    """w̄ of x and ȳ."""
    g, rank = geometry, len(geometry.space)
    if g.mirrors and y.shape[-1] <= FEW and x.shape[-1] >= MANY:
        return _reversed(kernel_gradient(y, x, geometry=g.mirrored())).swapaxes(-1, -2)
    if g.groups == x.shape[-1] == y.shape[-1]:
        rows = [jnp.sum(part * y, axis=range(rank + 1)) for part, _ in seen_by_taps(x, g.strides, g.pads, g.window)]
        return jnp.stack(rows).reshape(*g.window, 1, -1)
    if _one_by_one(g.groups):
        one = partial(kernel_gradient, geometry=replace(g, groups=1))
        return jnp.concatenate([one(a, b) for a, b in _split(g.groups, x, y)], -1)
    x, pads = _padding(x, g.pads)
    pieces, total = 1, x.nbytes + y.nbytes
    while total > max(AT_ONCE, pieces * PIECE) and y.shape[0] % (2 * pieces) == 0 and pieces < PIECES:
        pieces *= 2
    # Every n-th example, not every n examples: a batch that a caller's own `jit` shards then stays where it is.
    parts = [_exchanged(x[i::pieces], y[i::pieces], g, pads) for i in range(pieces)]
    if pieces <= TERMS:
        return reduce(add, parts)
    return (jnp.ones((1, pieces), x.dtype) @ jnp.stack(parts).reshape(pieces, -1)).reshape(parts[0].shape)


def _exchanged(x: Array, y: Array, g: Geometry, pads: Sequence[tuple[int, int]]) -> Array:
    """x convolved with the dilated kernel ȳ, batch and channels having changed places.

    They are transposed here, though dimension numbers could say it: XLA does the same for these, but not in loops.
    """
    rank = len(g.space)
    numbers = layout(rank, "N.C", ".IO", "N.C")
    if g.groups == 1:
        x = jnp.swapaxes(x, 0, -1)
    else:
        x = jnp.moveaxis(x.reshape(*x.shape[:-1], g.groups, -1), 0, -2)  # a group's features are its batch
        x = jnp.moveaxis(x.reshape(*x.shape[:-3], -1, x.shape[-1]), -1, 0)
    w = lax.conv_general_dilated(
        x,
        jnp.moveaxis(y, 0, -2),
        (1,) * rank,
        pads,
        rhs_dilation=g.strides,
        dimension_numbers=numbers,
        feature_group_count=g.groups,
    )
    return jnp.moveaxis(w, 0, -2)


def _convolve(x: Array, w: Array, strides: Sequence[int], pads: Sequence[tuple[int, int]], groups: int) -> Array:
    rank = len(strides)
    if groups == x.shape[-1] == w.shape[-1] and groups > 1:  # depthwise: nothing for a matrix product to gain
        parts = seen_by_taps(x, strides, pads, w.shape[:rank])
        return reduce(add, [part * w[tap].reshape((1,) * (rank + 1) + (-1,)) for part, tap in parts])
    if _one_by_one(groups):
        pairs = _split(groups, x, w)
        return jnp.concatenate([_convolve(a, b, strides, pads, 1) for a, b in pairs], -1)
    numbers = layout(rank, "N.C", ".IO", "N.C")
    return lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=numbers, feature_group_count=groups)


def _one_by_one(groups: int) -> bool:
    return not ONEDNN and 1 < groups <= APART


def _split(groups: int, *arrays: Array) -> Iterator[tuple[Array, ...]]:
    return zip(*(jnp.split(a, groups, -1) for a in arrays), strict=True)


def _reversed(w: Array) -> Array:
    return jnp.flip(w, range(w.ndim - 2))


def _reordered(w: Array) -> Array:
    """As `_reversed`, but put together tap by tap: XLA would fold a reversal into the convolution, which oneDNN then
    refuses (and a barrier in its way would keep equal convolutions of two players from being computed once)."""
    for axis in range(w.ndim - 2):
        w = lax.concatenate([lax.slice_in_dim(w, i, i + 1, axis=axis) for i in reversed(range(w.shape[axis]))], axis)
    return w


def _padding(x: Array, pads: Sequence[tuple[int, int]]) -> tuple[Array, list[tuple[int, int]]]:
    """Crop x where padding is below zero; the rest of the padding."""
    for axis, (low, high) in enumerate(pads, 1):
        x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] + min(high, 0), axis=axis)
    return x, [(max(low, 0), max(high, 0)) for low, high in pads]


def seen_by_taps(
    x: Array, strides: Sequence[int], pads: Sequence[tuple[int, int]], window: Sequence[int]
) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """What each tap of a window sees of x, and the tap's place, followed by 0 for the kernel's input axis."""
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((lo, hi, 0) for lo, hi in pads), (0, 0, 0)])
    for tap in product(*map(range, window)):
        stop = [n - k + 1 + i for n, k, i in zip(x.shape[1:-1], window, tap, strict=True)]
        yield lax.slice(x, (0, *tap, 0), (x.shape[0], *stop, x.shape[-1]), (1, *strides, 1)), (*tap, 0)


def _phases(g: Geometry) -> Iterator[tuple[tuple[int, ...], list[tuple[int, int]]]]:
    """For x = q·s + i, i < s: the first tap r that reaches it, and first and last + 1 of the outputs with that tap.

    All have the extent of the longest, so that they interleave; what is then beyond x is cropped.
    """
    for place in product(*map(range, g.strides)):
        at = [i + lo for i, lo in zip(place, g.low, strict=True)]
        spans = [(a // s, a // s - (-n // s)) for a, n, s in zip(at, g.space, g.strides, strict=True)]
        yield tuple(a % s for a, s in zip(at, g.strides, strict=True)), spans


def _interleave(phases: list[Array], g: Geometry) -> Array:
    batch, *extents, channels = phases[0].shape
    rank = len(extents)
    x = jnp.stack(phases, axis=-2).reshape(batch, *extents, *g.strides, channels)
    pairs = zip(range(1, rank + 1), range(rank + 1, 2 * rank + 1), strict=True)
    x = x.transpose(0, *(axis for pair in pairs for axis in pair), 2 * rank + 1)
    x = x.reshape(batch, *(n * s for n, s in zip(extents, g.strides, strict=True)), channels)
    return x[(slice(None), *map(slice, g.space))]


def _product_then_sums(y: Array, w: Array, g: Geometry) -> Array:
    """The input gradient where it has few channels: every y·w[k] in one matrix product, then the sum over m."""
    taps = [-(-k // s) for k, s in zip(g.window, g.strides, strict=True)]
    z = lax.dot_general(y, w, (((y.ndim - 1,), (w.ndim - 1,)), ((), ())))  # [b, *outputs, *window, channels]
    phases = []
    for phase, spans in _phases(g):
        parts = [jnp.zeros((y.shape[0], *(last - first for first, last in spans), w.shape[-2]), y.dtype)]
        for shift in product(*map(range, taps)):
            tap = tuple(r + s * m for r, s, m in zip(phase, g.strides, shift, strict=True))
            if all(i < k for i, k in zip(tap, g.window, strict=True)):
                part = z[(slice(None),) * (y.ndim - 1) + tap]
                windows = zip(shift, spans, y.shape[1:-1], strict=True)
                part, pads = _padding(part, [(i - first, last - i - o) for i, (first, last), o in windows])
                parts.append(jnp.pad(part, [(0, 0), *pads, (0, 0)]))
        phases.append(reduce(add, parts))
    return _interleave(phases, g)
