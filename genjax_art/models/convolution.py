"""Convolutions of 1 to 3 dimensions whose derivatives, of every order, are plain convolutions on CPU.

XLA's CPU libraries take only *plain* convolutions: no dilated input, no batch groups. What automatic
differentiation makes of a strided, grouped or transposed convolution is none of these and runs up to a
hundred times slower. But a convolution y = x * w, its input gradient x̄ = X(ȳ, w) and its kernel gradient
w̄ = W(x, ȳ) are bilinear, and the derivatives of each are the other two. So they are three primitives here,
closed under differentiation (forward and reverse, of every order), and each has a form of plain convolutions
for CPU (`plain_convolution.py`, with a time axis `plain_clips.py`); GPU and TPU get what `jax.lax` gives, but for a
TPU's forms of groups (`dense_groups.py`) and of a W of few channels (`tap_products.py`). A transposed convolution is X
itself. The form is chosen at lowering, per platform. How GPU and TPU make products of float32 numbers is chosen where
a convolution is called (`jax.default_matmul_precision`), as in `jax.lax`, and its derivatives inherit it. A mapped axis
joins the batch or the channels, or is unrolled: it never makes a grouped convolution.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from genjax_art.models import dense_groups, tap_products
from genjax_art.models import plain_clips as plain
from genjax_art.models.plain_convolution import Geometry, layout

Padding = Literal["SAME", "VALID"] | Sequence[tuple[int, int]]


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
            raise ValueError(f"conv: unknown padding {padding!r}; choose 'SAME', 'VALID' or (low, high) pairs")
        padding = lax.padtype_to_pads(space, window, strides, padding)
    if len(padding) != rank or any(lo < 0 or hi < 0 for lo, hi in padding):
        raise ValueError(f"conv: padding {padding} must be {rank} non-negative (low, high) pairs, one per axis")
    dims = zip(space, window, strides, padding, strict=True)
    outputs = tuple((n + lo + hi - k) // s + 1 for n, k, s, (lo, hi) in dims)
    if min(outputs) < 1:
        raise ValueError(f"conv: window {window} is larger than the padded input {space}; pad more or shrink it")
    low = tuple(lo for lo, _ in padding)
    if groups == 1 and not any(map(any, padding)) and set(window) == {1}:  # a matrix product at every position
        stop = [(o - 1) * s + 1 for o, s in zip(outputs, strides, strict=True)]
        x = lax.slice(x, (0,) * x.ndim, (x.shape[0], *stop, x.shape[-1]), (1, *strides, 1))
        # of two axes each, since XLA would copy x of more of them for the kernel gradient
        product = x.reshape(-1, x.shape[-1]) @ kernel.reshape(kernel.shape[-2:])
        return product.reshape(*x.shape[:-1], -1)
    if groups == 1 and not any(low) and set(outputs) == {1} and window == space:  # one matrix product
        product = x.reshape(x.shape[0], -1) @ kernel.reshape(-1, kernel.shape[-1])
        return product.reshape(x.shape[0], *outputs, -1)
    geometry = Geometry(strides, low, outputs, space, window, groups)
    return conv_p.bind(x, kernel, geometry=geometry, precision=_precision())


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
    low, space = [], []
    for n, k, s in zip(x.shape[1:-1], kernel.shape[:-2], strides, strict=True):
        # lax pads its dilated input by `before`, the convolution transposed here by the rest of k − 1
        before = min(k - 1, -(-(k + s - 2) // 2)) if padding == "SAME" else k - 1
        low.append(k - 1 - before)
        space.append(n * s if padding == "SAME" else n * s + max(k - s, 0))
    kernel = jnp.flip(kernel, range(rank))
    if space == list(kernel.shape[:-2]) and not any(low):  # from one position, one matrix product
        return lax.dot_general(x.reshape(x.shape[0], -1), kernel, (((1,), (rank,)), ((), ())))
    geometry = Geometry(strides, tuple(low), x.shape[1:-1], tuple(space), kernel.shape[:-2])
    return input_gradient_p.bind(x, kernel.swapaxes(-1, -2), geometry=geometry, precision=_precision())


def _precision() -> str | None:
    """What holds where this is called; at lowering it would be something else."""
    config: Any = jax.config  # its options have no types
    return config.jax_default_matmul_precision


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


def _lax_conv(x: Array, w: Array, *, geometry: Geometry, precision: str | None) -> Array:
    g, numbers = geometry, layout(x.ndim - 2, "N.C", ".IO", "N.C")
    return lax.conv_general_dilated(
        x, w, g.strides, g.pads, dimension_numbers=numbers, feature_group_count=g.groups, precision=precision
    )


def _lax_input_gradient(y: Array, w: Array, *, geometry: Geometry, precision: str | None) -> Array:
    channels = w.shape[-2] * geometry.groups
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.space, channels), y.dtype)
    return jax.linear_transpose(lambda x: _lax_conv(x, w, geometry=geometry, precision=precision), x)(y)[0]


def _lax_kernel_gradient(x: Array, y: Array, *, geometry: Geometry, precision: str | None) -> Array:
    w = jax.ShapeDtypeStruct((*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda w: _lax_conv(x, w, geometry=geometry, precision=precision), w)(y)[0]


# What a TPU runs: the same, but where groups or few channels would leave most of its matrix unit empty.


def _kernel_gradient_of_few(x: Array, y: Array, *, geometry: Geometry, precision: str | None) -> Array:
    form = tap_products.kernel_gradient if tap_products.few_channels(x, y, geometry) else _lax_kernel_gradient
    return form(x, y, geometry=geometry, precision=precision)


_tpu_conv = partial(dense_groups.with_kernel, _lax_conv)
_tpu_input_gradient = partial(dense_groups.with_kernel, _lax_input_gradient)
_tpu_kernel_gradient = partial(dense_groups.of_kernel, _kernel_gradient_of_few)


# The three primitives: how each is run, differentiated and mapped.


def _in_float32(form: Callable[..., Array]) -> Callable[..., Array]:
    """`form` with its sums in float32 at least: CPU has no fast convolution in half precision, and no other float32."""

    def run(a: Array, b: Array, *, geometry: Geometry, precision: str | None) -> Array:
        del precision
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
    name: str,
    default: Callable[..., Array],
    cpu: Callable[..., Array],
    folds: tuple[tuple[int, int], ...],
    tpu: Callable[..., Array],
) -> Primitive:
    """A primitive with a form for CPU, one for TPU, and one for all other platforms.

    `folds` has for each argument the axis that a mapped axis can join, and where this appears in the result.
    """
    primitive = Primitive(name)
    eager = jax.jit(primitive.bind, static_argnames=("geometry", "precision"))
    # without compiling, as JAX_DISABLE_JIT asks, `eager` would come back here
    primitive.def_impl(lambda a, b, **how: (default if jax.config.values["jax_disable_jit"] else eager)(a, b, **how))

    @primitive.def_abstract_eval
    def shape(a: jax.core.ShapedArray, b: jax.core.ShapedArray, **how: Any) -> jax.core.ShapedArray:
        out = jax.eval_shape(partial(default, **how), a, b)
        return jax.core.ShapedArray(out.shape, out.dtype)

    def batch(
        args: Sequence[Array], axes: Sequence[int | None], *, geometry: Geometry, precision: str | None
    ) -> tuple[Array, int]:
        bind = partial(primitive.bind, geometry=geometry, precision=precision)
        mapped = [i for i, axis in enumerate(axes) if axis is not None]
        args = [v if axis is None else jnp.moveaxis(v, axis, 0) for v, axis in zip(args, axes, strict=True)]
        size = args[mapped[0]].shape[0]
        source, result = folds[mapped[0]]
        if len(mapped) == 1 and (source == 0 or geometry.groups == 1):
            args[mapped[0]] = _fold(args[mapped[0]], source)
            return _unfold(bind(*args), result, size), 0
        # Unrolled: the alternative is a grouped convolution, which is slow on CPU.
        each = [[v[i] if j in mapped else v for j, v in enumerate(args)] for i in range(size)]
        return jnp.stack([bind(*pair) for pair in each]), 0

    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(default, multiple_results=False))
    for platform, form in {"cpu": _in_float32(cpu), "tpu": tpu}.items():
        mlir.register_lowering(primitive, mlir.lower_fun(form, multiple_results=False), platform=platform)
    return primitive


conv_p = _primitive("conv", _lax_conv, plain.convolution, ((0, 0), (-1, -1)), _tpu_conv)
input_gradient_p = _primitive(
    "conv_input_gradient", _lax_input_gradient, plain.input_gradient, ((0, 0), (-2, -1)), _tpu_input_gradient
)
kernel_gradient_p = _primitive(
    "conv_kernel_gradient", _lax_kernel_gradient, plain.kernel_gradient, ((-1, -2), (-1, -1)), _tpu_kernel_gradient
)

ad.defbilinear(
    conv_p,
    lambda ct, x, w, **how: input_gradient_p.bind(ct, w, **how),
    lambda ct, x, w, **how: kernel_gradient_p.bind(x, ct, **how),
)
ad.defbilinear(
    input_gradient_p,
    lambda ct, y, w, **how: conv_p.bind(ct, w, **how),
    lambda ct, y, w, **how: kernel_gradient_p.bind(ct, y, **how),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda ct, x, y, **how: input_gradient_p.bind(y, ct, **how),
    lambda ct, x, y, **how: conv_p.bind(x, ct, **how),
)
