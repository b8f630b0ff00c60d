"""Convolutions of any rank whose derivatives, of every order, are plain forward convolutions on CPU.

XLA's CPU library calls take only *plain* convolutions: no dilated input, no batch groups. What automatic
differentiation makes of a strided, grouped or transposed convolution is none of these and runs up to a
hundred times slower. But a convolution y = x * w, its input gradient x̄ = X(ȳ, w) and its kernel gradient
w̄ = W(x, ȳ) are bilinear, and the derivatives of each are the other two. So they are three primitives here,
closed under differentiation, and each has a CPU form that is plain: the input gradient is one convolution
for each phase of the stride, interleaved; the kernel gradient convolves x with ȳ, batch and channels having
changed places. GPU and TPU get what `jax.lax` would have given. A transposed convolution is X itself.
The form is chosen at lowering, per platform, so a traced function runs well wherever it is compiled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Padding = Literal["SAME", "VALID"] | Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Geometry:
    """All that shapes do not say: y[o] = Σ_k x[o·stride + k − low] w[k] on an input of extents `space`.

    `high` may be negative (input cropped), `low` may not.
    """

    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    space: tuple[int, ...]
    window: tuple[int, ...]
    groups: int = 1

    @property
    def outputs(self) -> tuple[int, ...]:
        dims = zip(self.space, self.low, self.high, self.window, self.strides, strict=True)
        return tuple((n + lo + hi - k) // s + 1 for n, lo, hi, k, s in dims)


def conv(
    x: Float[Array, "b *space c_in"],
    kernel: Float[Array, "*window c_in_per_group c_out"],
    strides: int | tuple[int, ...] = 1,
    padding: Padding = "SAME",
    groups: int = 1,
) -> Float[Array, "b *out c_out"]:
    """Convolution (cross-correlation) of 1 to 3 spatial ranks, channels last, as `flax.linen.Conv` has it.

    `padding` is "SAME", "VALID" or one non-negative (low, high) pair for each spatial dimension; `groups`
    divides both channel counts (`groups = c_in` is the depthwise convolution). The result has the inputs'
    dtype; on CPU sums are formed in float32 at least.
    Raises ValueError where shapes, strides, padding and groups do not fit together.
    """
    rank = _check_rank(x, kernel)
    strides = _check_strides(strides, rank)
    space, window = x.shape[1:-1], kernel.shape[:-2]
    if groups < 1 or x.shape[-1] != groups * kernel.shape[-2] or kernel.shape[-1] % groups:
        raise ValueError(
            f"conv: {groups} groups do not divide x {x.shape} and kernel {kernel.shape}; the kernel needs "
            "shape (*window, c_in / groups, c_out) with groups dividing c_in and c_out"
        )
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(
                f"conv: unknown padding {padding!r}; choose 'SAME', 'VALID' or (low, high) pairs"
            )
        padding = lax.padtype_to_pads(space, window, strides, padding)
    if len(padding) != rank or any(lo < 0 or hi < 0 for lo, hi in padding):
        raise ValueError(
            f"conv: padding {padding} must be {rank} non-negative (low, high) pairs, one per axis"
        )
    low, high = (tuple(int(pair[end]) for pair in padding) for end in (0, 1))
    geometry = Geometry(strides, low, high, space, window, groups)
    if min(geometry.outputs) < 1:
        raise ValueError(
            f"conv: window {window} is larger than the padded input {space}; pad more or shrink it"
        )
    return conv_p.bind(x, kernel, geometry=geometry)


def conv_transpose(
    x: Float[Array, "b *space c_in"],
    kernel: Float[Array, "*window channels c_out"],
    strides: int | tuple[int, ...] = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
) -> Float[Array, "b *out c_out"]:
    """Transposed convolution, as `jax.lax.conv_transpose` and `flax.linen.ConvTranspose` have it.

    "SAME" gives extents n·stride, "VALID" n·stride + max(window − stride, 0). It is the input gradient of a
    convolution with the kernel's window reversed and its channels exchanged.
    Raises ValueError where shapes, strides and padding do not fit together.
    """
    rank = _check_rank(x, kernel)
    strides = _check_strides(strides, rank)
    if x.shape[-1] != kernel.shape[-2]:
        raise ValueError(
            f"conv_transpose: x {x.shape} and kernel {kernel.shape} differ in c_in; the kernel needs shape "
            "(*window, c_in, c_out)"
        )
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"conv_transpose: unknown padding {padding!r}; choose 'SAME' or 'VALID'")
    low, high, space = [], [], []
    for n, k, s in zip(x.shape[1:-1], kernel.shape[:-2], strides, strict=True):
        extent = n * s if padding == "SAME" else n * s + max(k - s, 0)
        # lax pads its dilated input by `before`, the convolution transposed here by the rest of k − 1
        before = min(k - 1, -(-(k + s - 2) // 2)) if padding == "SAME" else k - 1
        low.append(k - 1 - before)
        high.append((n - 1) * s + k - extent - low[-1])
        space.append(extent)
    geometry = Geometry(strides, tuple(low), tuple(high), tuple(space), kernel.shape[:-2])
    kernel = jnp.flip(kernel, range(rank)).swapaxes(-1, -2)
    return input_gradient_p.bind(x, kernel, geometry=geometry)


def _check_rank(x: Array, kernel: Array) -> int:
    rank = x.ndim - 2
    if not 1 <= rank <= 3 or kernel.ndim != x.ndim:
        raise ValueError(
            f"x {x.shape} and kernel {kernel.shape} must have the same 1 to 3 spatial dimensions: "
            "(batch, *space, channels) and (*window, c_in, c_out)"
        )
    return rank


def _check_strides(strides: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    strides = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    if len(strides) != rank or min(strides) < 1:
        raise ValueError(f"strides {strides} must be a positive integer or {rank} of them, one per axis")
    return strides


# What GPU and TPU run: lax and its own transposes.


def _lax_conv(x: Array, w: Array, *, geometry: Geometry) -> Array:
    pads = list(zip(geometry.low, geometry.high, strict=True))
    return _plain(x, w, geometry.strides, pads, geometry.groups)


def _lax_input_gradient(y: Array, w: Array, *, geometry: Geometry) -> Array:
    channels = w.shape[-2] * geometry.groups
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.space, channels), y.dtype)
    return jax.linear_transpose(lambda x: _lax_conv(x, w, geometry=geometry), x)(y)[0]


def _lax_kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    w = jax.ShapeDtypeStruct((*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda w: _lax_conv(x, w, geometry=geometry), w)(y)[0]


# What CPU runs: plain convolutions.


def _plain(
    x: Array,
    w: Array,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    groups: int = 1,
    spread: Sequence[int] | None = None,
    layout: tuple[str, str, str] = ("N.C", ".IO", "N.C"),
) -> Array:
    """A convolution without dilated input and batch groups; "." in `layout` stands for the spatial axes."""
    axes = "DHW"[5 - x.ndim :]
    lhs, rhs, out = (part.replace(".", axes) for part in layout)
    return lax.conv_general_dilated(
        x,
        w,
        strides,
        pads,
        rhs_dilation=spread,
        dimension_numbers=(lhs, rhs, out),
        feature_group_count=groups,
    )


def _crop(x: Array, axis: int, start: int, stop: int) -> Array:
    return lax.slice_in_dim(x, start, stop, axis=axis)


def _cpu_conv(x: Array, w: Array, *, geometry: Geometry) -> Array:
    g = geometry
    for axis, (n, high) in enumerate(zip(g.space, g.high, strict=True), 1):
        if high < 0:  # a negative padding would not be plain
            x = _crop(x, axis, 0, n + high)
    return _plain(x, w, g.strides, [(lo, max(hi, 0)) for lo, hi in zip(g.low, g.high, strict=True)], g.groups)


def _cpu_input_gradient(y: Array, w: Array, *, geometry: Geometry) -> Array:
    """x̄[q·s + r − low] = Σ_m y[q − m] w[r + s·m]: one convolution for each phase r, interleaved."""
    g, rank = geometry, len(geometry.space)
    w = w.reshape(*g.window, w.shape[-2], g.groups, -1)  # exchange the channels within each group
    w = jnp.moveaxis(w, (-3, -1), (-1, -3)).reshape(*g.window, -1, g.groups * w.shape[-3])
    first = [lo // s for lo, s in zip(g.low, g.strides, strict=True)]
    last = [-(-(n + lo) // s) for n, lo, s in zip(g.space, g.low, g.strides, strict=True)]
    phases = []
    for phase in product(*map(range, g.strides)):
        taps = w[tuple(slice(r, None, s) for r, s in zip(phase, g.strides, strict=True))]
        source, pads = y, []
        for axis, (q0, q1) in enumerate(zip(first, last, strict=True)):
            low, high = taps.shape[axis] - 1 - q0, q1 - y.shape[axis + 1]
            source = _crop(source, axis + 1, max(-low, 0), y.shape[axis + 1] + min(high, 0))
            pads.append((max(low, 0), max(high, 0)))
        if 0 in taps.shape or 0 in source.shape:
            extents = [q1 - q0 for q0, q1 in zip(first, last, strict=True)]
            phases.append(jnp.zeros((y.shape[0], *extents, w.shape[-1]), y.dtype))
        else:
            phases.append(_plain(source, jnp.flip(taps, range(rank)), (1,) * rank, pads, g.groups))
    x = _interleave(phases, g.strides)
    for axis, (n, lo, s) in enumerate(zip(g.space, g.low, g.strides, strict=True), 1):
        x = _crop(x, axis, lo % s, lo % s + n)
    return x


def _interleave(phases: list[Array], strides: Sequence[int]) -> Array:
    if len(phases) == 1:
        return phases[0]
    batch, *extents, channels = phases[0].shape
    rank = len(extents)
    x = jnp.stack(phases, axis=-2).reshape(batch, *extents, *strides, channels)
    order = [
        axis for pair in zip(range(1, rank + 1), range(rank + 1, 2 * rank + 1), strict=True) for axis in pair
    ]
    x = x.transpose(0, *order, 2 * rank + 1)
    return x.reshape(batch, *(n * s for n, s in zip(extents, strides, strict=True)), channels)


def _cpu_kernel_gradient(x: Array, y: Array, *, geometry: Geometry) -> Array:
    """w̄[k] = Σ_o x[o·s + k − low] ȳ[o]: x convolved with ȳ, the batch in the channels' place."""
    g, rank = geometry, len(geometry.space)
    if g.groups == x.shape[-1] == y.shape[-1]:
        return _depthwise_kernel_gradient(x, y, g)
    if g.groups > 1:
        one = partial(_cpu_kernel_gradient, geometry=replace(g, groups=1))
        pairs = zip(jnp.split(x, g.groups, -1), jnp.split(y, g.groups, -1), strict=True)
        return jnp.concatenate([one(*pair) for pair in pairs], -1)
    pads = []
    for axis, (n, o, k, s, lo) in enumerate(
        zip(g.space, g.outputs, g.window, g.strides, g.low, strict=True), 1
    ):
        high = (o - 1) * s + k - n - lo
        x = _crop(x, axis, 0, n + min(high, 0))
        pads.append((lo, max(high, 0)))
    return _plain(x, y, (1,) * rank, pads, spread=g.strides, layout=("C.N", "I.O", ".NC"))


def _depthwise_kernel_gradient(x: Array, y: Array, g: Geometry) -> Array:
    """One product and sum for each tap: there is nothing for a matrix product to gain."""
    ends = [
        max((o - 1) * s + k - n - lo, 0)
        for o, s, k, n, lo in zip(g.outputs, g.strides, g.window, g.space, g.low, strict=True)
    ]
    x = jnp.pad(x, [(0, 0), *zip(g.low, ends, strict=True), (0, 0)])
    rows = []
    for tap in product(*map(range, g.window)):
        stop = [k + (o - 1) * s + 1 for k, o, s in zip(tap, g.outputs, g.strides, strict=True)]
        part = lax.slice(x, (0, *tap, 0), (x.shape[0], *stop, x.shape[-1]), (1, *g.strides, 1))
        rows.append(jnp.sum(part * y, axis=range(x.ndim - 1)))
    return jnp.stack(rows).reshape(*g.window, 1, x.shape[-1])


# The three primitives: how each is run, differentiated and mapped.


def _in_float32(form: Callable[..., Array]) -> Callable[..., Array]:
    """`form` with its sums in float32 at least: CPU has no fast convolution in half precision."""

    def run(a: Array, b: Array, *, geometry: Geometry) -> Array:
        wide = a.dtype if jnp.finfo(a.dtype).bits >= 32 else jnp.float32
        return form(a.astype(wide), b.astype(wide), geometry=geometry).astype(a.dtype)

    return run


def _fold(v: Array, axis: int) -> Array:
    """Merge a leading mapped axis into `axis` of what was mapped, as its slower part."""
    v = jnp.moveaxis(v, 0, axis - 1 if axis < 0 else axis)
    at = axis % (v.ndim - 1)
    return v.reshape(*v.shape[:at], -1, *v.shape[at + 2 :])


def _unfold(v: Array, axis: int, size: int) -> Array:
    at = axis % v.ndim
    v = v.reshape(*v.shape[:at], size, v.shape[at] // size, *v.shape[at + 1 :])
    return jnp.moveaxis(v, at, 0)


def _primitive(
    name: str, default: Callable[..., Array], cpu: Callable[..., Array], folds: tuple[tuple[int, int], ...]
) -> Primitive:
    """A primitive with a form for CPU and one for all other platforms.

    `folds` has for each argument the axis that a mapped axis can join, and where this appears in the result.
    """
    primitive = Primitive(name)
    eager = jax.jit(primitive.bind, static_argnames="geometry")
    primitive.def_impl(lambda a, b, *, geometry: eager(a, b, geometry=geometry))

    @primitive.def_abstract_eval
    def shape(
        a: jax.core.ShapedArray, b: jax.core.ShapedArray, *, geometry: Geometry
    ) -> jax.core.ShapedArray:
        out = jax.eval_shape(partial(default, geometry=geometry), a, b)
        return jax.core.ShapedArray(out.shape, out.dtype)

    def batch(args: Sequence[Array], axes: Sequence[int | None], *, geometry: Geometry) -> tuple[Array, int]:
        mapped = [i for i, axis in enumerate(axes) if axis is not None]
        args = [v if axis is None else jnp.moveaxis(v, axis, 0) for v, axis in zip(args, axes, strict=True)]
        size = args[mapped[0]].shape[0]
        source, result = folds[mapped[0]]
        if len(mapped) == 1 and (source == 0 or geometry.groups == 1):
            args[mapped[0]] = _fold(args[mapped[0]], source)
            return _unfold(primitive.bind(*args, geometry=geometry), result, size), 0
        # Unrolled: the alternative is a grouped convolution, which is slow on CPU.
        each = [[v[i] if j in mapped else v for j, v in enumerate(args)] for i in range(size)]
        return jnp.stack([primitive.bind(*pair, geometry=geometry) for pair in each]), 0

    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(default, multiple_results=False))
    mlir.register_lowering(
        primitive, mlir.lower_fun(_in_float32(cpu), multiple_results=False), platform="cpu"
    )
    return primitive


conv_p = _primitive("conv", _lax_conv, _cpu_conv, ((0, 0), (-1, -1)))
input_gradient_p = _primitive(
    "conv_input_gradient", _lax_input_gradient, _cpu_input_gradient, ((0, 0), (-2, -1))
)
kernel_gradient_p = _primitive(
    "conv_kernel_gradient", _lax_kernel_gradient, _cpu_kernel_gradient, ((-1, -2), (-1, -1))
)

ad.defbilinear(
    conv_p,
    lambda ct, x, w, geometry: input_gradient_p.bind(ct, w, geometry=geometry),
    lambda ct, x, w, geometry: kernel_gradient_p.bind(x, ct, geometry=geometry),
)
ad.defbilinear(
    input_gradient_p,
    lambda ct, y, w, geometry: conv_p.bind(ct, w, geometry=geometry),
    lambda ct, y, w, geometry: kernel_gradient_p.bind(ct, y, geometry=geometry),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, y, geometry: input_gradient_p.bind(y, ct, geometry=geometry),
    lambda ct, x, y, geometry: conv_p.bind(x, ct, geometry=geometry),
)
