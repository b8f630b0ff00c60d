"""The CPU forms of `plain_convolution.py` with time as a third axis, where those are slow for it.

Below jax 0.12 no CPU library of XLA's takes three axes (3 to 10 GFLOP/s where two axes reach 60, on the same two
cores). There the taps along time become channels of one convolution over height and width, for all frames at once.

From jax 0.12 on oneDNN takes three axes. What is left is an input gradient with few channels, that of a judge's first
layer: the taps of a window of 4x4x4 are too many for a sum of shifted products. Its stride becomes 1: the phases of
the stride are channels of one plain convolution (2 to 5 times as fast).
"""

from dataclasses import replace
from functools import reduce
from operator import add

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from genjax_art.models import plain_convolution as plain
from genjax_art.models.plain_convolution import Geometry

Spans = list[tuple[int, int]]


def convolution(x: Float[Array, "b ..."], w: Float[Array, "..."], *, geometry: Geometry) -> Float[Array, "b ..."]:
    """y of x and w, of any rank."""
    if not frame_by_frame(geometry):
        return plain.convolution(x, w, geometry=geometry)
    y = plain.convolution(windows(x, geometry), taps_as_channels(w), geometry=over_space(geometry))
    return y.reshape(x.shape[0], -1, *y.shape[1:])


def input_gradient(y: Float[Array, "b ..."], w: Float[Array, "..."], *, geometry: Geometry) -> Float[Array, "b ..."]:
    """x̄ of ȳ and w, of any rank."""
    if frame_by_frame(geometry):
        x = plain.input_gradient(as_frames(y), taps_as_channels(w), geometry=over_space(geometry))
        x = x.reshape(*y.shape[:2], *x.shape[1:-1], geometry.window[0], -1)
        return overlapping_sum(x, geometry)
    few = w.shape[-2] <= plain.FEW and w.shape[-1] >= plain.MANY
    if len(geometry.space) == 3 and geometry.groups == 1 and few and max(geometry.strides) > 1:
        return of_phases(y, w, geometry)
    return plain.input_gradient(y, w, geometry=geometry)


def kernel_gradient(x: Float[Array, "b ..."], y: Float[Array, "b ..."], *, geometry: Geometry) -> Float[Array, "..."]:
    """w̄ of x and ȳ, of any rank."""
    if not frame_by_frame(geometry):
        return plain.kernel_gradient(x, y, geometry=geometry)
    w = plain.kernel_gradient(windows(x, geometry), as_frames(y), geometry=over_space(geometry))
    return jnp.moveaxis(w.reshape(*w.shape[:2], geometry.window[0], -1, w.shape[-1]), 2, 0)


def frame_by_frame(g: Geometry) -> bool:
    """Whether a convolution with these extents is made as one over height and width."""
    return not plain.ONEDNN and len(g.space) == 3 and g.groups == 1


def over_space(g: Geometry) -> Geometry:
    """The geometry of the axes after the first."""
    return Geometry(g.strides[1:], g.low[1:], g.outputs[1:], g.space[1:], g.window[1:])


def as_frames(x: Float[Array, "b t h w c"]) -> Float[Array, "n h w c"]:
    return x.reshape(-1, *x.shape[2:])


def windows(x: Float[Array, "b t h w c"], g: Geometry) -> Float[Array, "n h w d"]:
    """The frames that each output sees, side by side as channels: n = b · outputs, d = window · c."""
    stop, stride = (g.outputs[0] - 1) * g.strides[0] + 1, g.strides[0]
    x = padded(x, [g.pads[0], (0, 0), (0, 0)])
    frames = [lax.slice_in_dim(x, tap, tap + stop, stride, axis=1) for tap in range(g.window[0])]
    return as_frames(jnp.concatenate(frames, -1))


def taps_as_channels(w: Float[Array, "k h w c d"]) -> Float[Array, "h w e d"]:
    w = jnp.moveaxis(w, 0, -3)
    return w.reshape(*w.shape[:2], -1, w.shape[-1])


def overlapping_sum(x: Float[Array, "b o h w k c"], g: Geometry) -> Float[Array, "b t h w c"]:
    """What each output gives to the frames of its window, added up: the transpose of `windows`."""
    stride, each = g.strides[0], -(-g.window[0] // g.strides[0])
    phases = []
    for phase in range(stride):
        places = [(m, phase + stride * m) for m in range(each) if phase + stride * m < g.window[0]]
        parts = [padded(x[..., tap, :], [(m, each - 1 - m), (0, 0), (0, 0)]) for m, tap in places]
        empty = jnp.zeros((x.shape[0], x.shape[1] + each - 1, *x.shape[2:4], x.shape[-1]), x.dtype)
        phases.append(reduce(add, parts) if parts else empty)
    frames = jnp.stack(phases, 2).reshape(x.shape[0], -1, *x.shape[2:4], x.shape[-1])  # from frame -low on
    return padded(frames, [(-g.low[0], g.space[0] + g.low[0] - frames.shape[1]), (0, 0), (0, 0)])


def padded(x: Float[Array, "b *space c"], pads: Spans) -> Float[Array, "b *space2 c"]:
    """x with zeros around its space; cropped where a number is below zero."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])


def of_phases(y: Float[Array, "b ..."], w: Float[Array, "..."], g: Geometry) -> Float[Array, "b ..."]:
    """The input gradient as one of stride 1, whose channels are the phases of the stride."""
    rank, channels = len(g.space), w.shape[-2]
    window = tuple(-(-k // s) for k, s in zip(g.window, g.strides, strict=True))
    space = tuple(o + k - 1 for o, k in zip(g.outputs, window, strict=True))
    ends = [(0, k * s - n) for k, s, n in zip(window, g.strides, g.window, strict=True)]
    w = jnp.pad(w, [*ends, (0, 0), (0, 0)])
    w = w.reshape(*(n for pair in zip(window, g.strides, strict=True) for n in pair), *w.shape[-2:])
    places, phases = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    w = w.transpose(*places, *phases, 2 * rank, 2 * rank + 1).reshape(*window, -1, w.shape[-1])
    whole = replace(g, strides=(1,) * rank, low=(0,) * rank, space=space, window=window)
    x = plain.input_gradient(y, w, geometry=whole).reshape(y.shape[0], *space, *g.strides, channels)
    x = x.transpose(0, *(axis for i in range(1, rank + 1) for axis in (i, i + rank)), 2 * rank + 1)
    x = x.reshape(y.shape[0], *(n * s for n, s in zip(space, g.strides, strict=True)), channels)
    return padded(x, [(-lo, n + lo - have) for lo, n, have in zip(g.low, g.space, x.shape[1:-1], strict=True)])
