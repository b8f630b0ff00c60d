"""Convolutions against `jax.lax`: value, gradients, second-order gradients; no slow form on CPU."""

import re
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers import slow_convolutions
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import Array, lax

from genjax_art.models import convolution, plain_convolution
from genjax_art.models.convolution import conv, conv_transpose
from genjax_art.models.plain_convolution import Geometry

Convolution = Callable[[Array, Array], Array]

tried = partial(settings, deadline=None, derandomize=True, database=None)


def numbers(rank: int) -> tuple[str, str, str]:
    axes = "DHW"[3 - rank :]
    return (f"N{axes}C", f"{axes}IO", f"N{axes}C")


def lax_conv(x, w, strides, padding, groups=1):
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=numbers(x.ndim - 2), feature_group_count=groups
    )


def lax_conv_transpose(x, w, strides, padding):
    return lax.conv_transpose(x, w, strides, padding, dimension_numbers=numbers(x.ndim - 2))


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def derivatives(f: Convolution, x: Array, w: Array) -> list[Array]:
    """Value, both gradients, and the gradients of the squared norms of both gradients."""

    def loss(x, w):
        return jnp.sum(jnp.sin(f(x, w)))

    def squared(argnum, x, w):
        return jnp.sum(jax.grad(loss, argnum)(x, w) ** 2)

    return jax.tree.leaves(
        [f(x, w), jax.grad(loss, (0, 1))(x, w), [jax.grad(partial(squared, i), (0, 1))(x, w) for i in (0, 1)]]
    )


def assert_same(f: Convolution, oracle: Convolution, x: Array, w: Array) -> None:
    ours, theirs = (jax.jit(partial(derivatives, g)).lower(x, w) for g in (f, oracle))
    assert not slow_convolutions(ours.as_text())
    quick = {"xla_backend_optimization_level": 0}  # compiling is what takes the time here
    for got, want in zip(*(g.compile(compiler_options=quick)(x, w) for g in (ours, theirs)), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * max(1e-3, float(jnp.abs(want).max())))


@st.composite
def cases(draw):
    """(space, window, strides, padding) of rank 1 to 3, small, every window within its input."""
    rank = draw(st.integers(1, 3))
    largest = {1: 7, 2: 5, 3: 3}[rank]
    window = tuple(draw(st.integers(1, largest)) for _ in range(rank))
    strides = tuple(draw(st.integers(1, 3 if rank < 3 else 2)) for _ in range(rank))
    space = tuple(draw(st.integers(k, k + 4)) for k in window)
    return space, window, strides, draw(st.sampled_from(["SAME", "VALID"]))


def forms(onednn: bool):
    """The forms of either jax version, and kernel gradients in pieces even where they are small, summed by products."""
    return patch.multiple(plain_convolution, ONEDNN=onednn, AT_ONCE=2**6, PIECE=2**6, TERMS=1)


@tried(max_examples=6)
@example(case=((9, 8), (7, 6), (2, 3), "SAME"), channels=(1, 2, 3), onednn=True)
@example(case=((5, 4), (3, 3), (2, 1), "SAME"), channels=(20, 2, 1), onednn=False)
@example(case=((5, 4, 3), (3, 2, 3), (2, 1, 2), "SAME"), channels=(1, 2, 3), onednn=False)  # frame by frame
@example(case=((5, 4, 3), (3, 2, 1), (2, 1, 2), "VALID"), channels=(1, 3, 16), onednn=True)  # phases as channels
@given(
    case=cases(),
    channels=st.sampled_from([(1, 2, 3), (1, 16, 2), (1, 3, 16), (2, 2, 1), (3, 1, 1), (2, 1, 2), (1, 1, 4)]),
    onednn=st.booleans(),
)
def test_conv_is_lax_to_second_order(case, channels, onednn):
    space, window, strides, padding = case
    groups, c_in, c_out = channels
    x, w = normal(0, 2, *space, groups * c_in), normal(1, *window, c_in, groups * c_out)
    with forms(onednn):
        assert_same(
            lambda x, w: conv(x, w, strides, padding, groups),
            lambda x, w: lax_conv(x, w, strides, padding, groups),
            x,
            w,
        )


@tried(max_examples=4)
@given(case=cases(), channels=st.sampled_from([(3, 2), (16, 2), (1, 16)]), onednn=st.booleans())
def test_transposed_conv_is_lax_to_second_order(case, channels, onednn):
    space, window, strides, padding = case
    x, w = normal(0, 2, *(n // 2 + 1 for n in space), channels[0]), normal(1, *window, *channels)
    with forms(onednn):
        assert_same(
            lambda x, w: conv_transpose(x, w, strides, padding),
            lambda x, w: lax_conv_transpose(x, w, strides, padding),
            x,
            w,
        )


ON_TPU = [convolution._tpu_conv, convolution._tpu_input_gradient, convolution._tpu_kernel_gradient]


@tried(max_examples=8)
@example(case=((9, 8), (5, 5), (2, 2), "SAME"), channels=(1, 1, 8))
@example(case=((9, 8), (5, 5), (1, 1), "SAME"), channels=(1, 8, 1))
@example(case=((9, 8), (3, 3), (1, 1), "VALID"), channels=(1, 8, 3))
@example(case=((9, 8), (3, 3), (2, 1), "SAME"), channels=(4, 64, 2))  # two blocks of two
@given(
    case=cases(),
    channels=st.sampled_from([(1, 1, 8), (1, 3, 8), (1, 8, 4), (1, 1, 1), (1, 8, 8), (3, 8, 2), (4, 16, 16)]),
)
def test_the_forms_of_a_tpu_are_those_of_lax(case, channels):
    space, window, strides, padding = case
    groups, c_in, c_out = channels
    x, w = normal(0, 2, *space, groups * c_in), normal(1, *window, c_in, groups * c_out)
    y, pull = jax.vjp(lambda x, w: lax_conv(x, w, strides, padding, groups), x, w)
    pads = lax.padtype_to_pads(space, window, strides, padding)
    geometry = Geometry(strides, tuple(lo for lo, _ in pads), y.shape[1:-1], space, window, groups)
    for form, operands, want in zip(ON_TPU, [(x, w), (y, w), (x, y)], [y, *pull(y)], strict=True):
        got = jax.jit(partial(form, geometry=geometry, precision="highest"))(*operands)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1e-3, float(jnp.abs(want).max())))


def test_what_is_not_finite_in_a_kernel_stays_in_its_group_on_a_tpu():
    x, w = jnp.ones((1, 4, 4, 32)), jnp.ones((3, 3, 16, 32)).at[0, 0, 0, 0].set(jnp.inf)
    geometry = Geometry((1, 1), (1, 1), (4, 4), (4, 4), (3, 3), 2)
    y = ON_TPU[0](x, w, geometry=geometry, precision="highest")
    assert not jnp.isfinite(y[..., :16]).all() and jnp.isfinite(y[..., 16:]).all()


def test_a_tpu_is_given_groups_as_dense_blocks():
    x, w = jnp.ones((2, 8, 8, 256)), jnp.ones((3, 3, 16, 256))
    lowered = jax.jit(partial(penalised_gradient, partial(conv, groups=16))).trace(w, x)
    tpu, cuda = (lowered.lower(lowering_platforms=(platform,)).as_text() for platform in ("tpu", "cuda"))
    counts = r"(?:feature|batch)_group_count = (\d+)"
    assert set(re.findall(counts, tpu)) == {"1"} and "16" in re.findall(counts, cuda)


@pytest.mark.parametrize("c_in, c_out, stride", [(1, 32, 2), (3, 32, 1), (32, 1, 1), (32, 3, 1)])
def test_a_tpu_is_given_no_kernel_gradient_of_few_channels(c_in, c_out, stride):
    """In the gradient of a slope penalty, too: its compiler would take minutes for each."""
    x, w = jnp.ones((2, 12, 12, c_in)), jnp.ones((3, 3, c_in, c_out))
    lowered = jax.jit(partial(penalised_gradient, partial(conv, strides=stride))).trace(w, x)
    counts = [
        len(re.findall(r"dim_numbers = \[f, 0, 1, b\]", lowered.lower(lowering_platforms=(platform,)).as_text()))
        for platform in ("cuda", "tpu")
    ]
    assert counts[0] > 0 and counts[1] == 0


def test_explicit_padding_and_window_smaller_than_stride():
    x, w = normal(0, 2, 9, 6, 2), normal(1, 2, 1, 2, 3)
    pads = ((0, 3), (2, 1))
    assert_same(lambda x, w: conv(x, w, (3, 2), pads), lambda x, w: lax_conv(x, w, (3, 2), pads), x, w)


def test_flax_parameters_give_flax_results():
    x = normal(0, 2, 7, 6, 4)
    for module, ours in [
        (nn.Conv(6, (1, 1), 3, use_bias=False), partial(conv, strides=3)),
        (nn.Conv(6, (7, 6), padding="VALID", use_bias=False), partial(conv, padding="VALID")),
        (nn.Conv(6, (5, 5), 2, use_bias=False), partial(conv, strides=2)),
        (nn.Conv(6, (3, 3), feature_group_count=2, use_bias=False), partial(conv, groups=2)),
        (nn.ConvTranspose(6, (5, 4), (2, 2), use_bias=False), partial(conv_transpose, strides=2)),
        (
            nn.ConvTranspose(6, (4, 3), (2, 2), "VALID", use_bias=False),
            partial(conv_transpose, strides=2, padding="VALID"),
        ),
    ]:
        params = jax.jit(module.init)(jax.random.key(0), x)
        got = jax.jit(ours)(x, params["params"]["kernel"])
        np.testing.assert_allclose(got, jax.jit(module.apply)(params, x), rtol=1e-4, atol=1e-5)


# The checker sees what it must see, or the guard above would guard nothing.


@pytest.mark.parametrize("how", ["lowered", "compiled"])
@pytest.mark.parametrize("groups, strides", [(1, (2, 2)), (2, (1, 1))])
def test_checker_sees_the_slow_forms_of_lax_and_none_of_ours(how, groups, strides):
    x, w = normal(0, 2, 8, 8, 4), normal(1, 3, 3, 4 // groups, 4)

    def text(f):
        lowered = jax.jit(partial(derivatives, f)).lower(x, w)
        return lowered.as_text() if how == "lowered" else lowered.compile().as_text()

    assert slow_convolutions(text(lambda x, w: lax_conv(x, w, strides, "SAME", groups)))
    ours = text(lambda x, w: conv(x, w, strides, "SAME", groups))
    assert "convolution" in ours and not slow_convolutions(ours)


def test_checker_sees_axes_out_of_order():
    def exchanged(x, y):
        return lax.conv_general_dilated(x, y, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC"))

    x = normal(0, 2, 8, 8, 4)
    assert len(slow_convolutions(jax.jit(exchanged).lower(x, x[:, :6, :6]).as_text())) == 1


# Under every transformation.

CONVOLUTIONS = {
    "conv": lambda x, w: conv(x, w, 2),
    "grouped": lambda x, w: conv(x, jnp.concatenate([w, w], -1)[..., :2, :], 2, groups=2),
    "transposed": lambda x, w: conv_transpose(x, w, 2),
}
f_of = pytest.mark.parametrize("f", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())


def loss(f, w, x):
    return jnp.mean(jnp.sin(f(x, w)) ** 2)


@f_of
def test_forward_mode_is_the_finite_difference_and_the_transpose_of_reverse(f):
    x, w = normal(0, 2, 6, 5, 4), normal(1, 3, 3, 4, 3)
    dx, dw = normal(2, *x.shape), normal(3, *w.shape)
    out, tangent = jax.jvp(f, (x, w), (dx, dw))
    h = 1e-2  # bilinear: the central difference is exact but for rounding
    difference = (f(x + h * dx, w + h * dw) - f(x - h * dx, w - h * dw)) / (2 * h)
    np.testing.assert_allclose(tangent, difference, rtol=1e-3, atol=1e-3)
    ct = normal(4, *out.shape)
    grad_x, grad_w = jax.vjp(f, x, w)[1](ct)
    np.testing.assert_allclose(jnp.vdot(ct, tangent), jnp.vdot(grad_x, dx) + jnp.vdot(grad_w, dw), rtol=1e-4)
    grad = jax.grad(partial(loss, f))  # and forward over reverse: w · H dw = dw · H w
    products = [jax.jvp(lambda w: grad(w, x), (w,), (v,))[1] for v in (w, dw)]
    np.testing.assert_allclose(jnp.vdot(dw, products[0]), jnp.vdot(w, products[1]), rtol=1e-4)


@f_of
@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)])
def test_vmap_and_its_gradients_are_the_loop(f, axes):
    x, w = normal(0, 3, 2, 5, 6, 4), normal(1, 3, 3, 3, 4, 2)
    grads = jax.jit(jax.grad(partial(loss, f), (0, 1)))
    stacked = (w if axes[0] == 0 else w[0], x if axes[1] == 0 else x[0])
    mapped = jax.jit(jax.vmap(grads, axes))
    assert "feature_group_count = 3" not in mapped.lower(*stacked).as_text()
    for i in range(3):
        one = grads(w[i if axes[0] == 0 else 0], x[i if axes[1] == 0 else 0])
        for got, want in zip(mapped(*stacked), one, strict=True):
            np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-6)


@f_of
def test_gradient_of_a_map_over_examples_is_that_of_the_batch(f):
    """A gradient penalty written for one example does not cost one convolution for each example."""
    x, w = normal(0, 8, 5, 6, 4), normal(1, 3, 3, 4, 2)

    def penalty(w):
        return jnp.sum(jax.vmap(jax.grad(lambda one: jnp.sum(jnp.sin(f(one[None], w)))))(x) ** 2)

    def batched(w):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(f(x, w))))(x) ** 2)

    np.testing.assert_allclose(jax.jit(jax.grad(penalty))(w), jax.jit(jax.grad(batched))(w), rtol=1e-4, atol=1e-4)
    count = [jax.jit(jax.grad(p)).lower(w).as_text().count("stablehlo.convolution") for p in (penalty, batched)]
    assert count[0] == count[1]


@f_of
def test_checkpoint_and_scan_change_nothing(f):
    x, w = normal(0, 2, 6, 5, 4), normal(1, 3, 3, 4, 2)

    def scanned(w):
        return lax.scan(
            lambda total, shift: (total + jax.checkpoint(partial(loss, f))(w, x + shift), None),
            0.0,
            jnp.arange(3.0),
        )[0]

    def looped(w):
        return sum(loss(f, w, x + shift) for shift in range(3))

    np.testing.assert_allclose(jax.jit(jax.grad(scanned))(w), jax.jit(jax.grad(looped))(w), rtol=1e-4, atol=1e-5)


@f_of
def test_bfloat16_sums_in_float32(f):
    x, w = normal(0, 2, 6, 5, 4).astype(jnp.bfloat16), normal(1, 3, 3, 4, 2).astype(jnp.bfloat16)
    got = jax.jit(partial(derivatives, f))(x, w)[:3]
    assert all(a.dtype == jnp.bfloat16 for a in got)
    want = f(x.astype(jnp.float32), w.astype(jnp.float32)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(got[0].astype(jnp.float32), want.astype(jnp.float32))


# On several devices.


def penalised_gradient(f, w, x):
    """Gradient with respect to w of a loss with a gradient penalty: all six derivatives take part."""

    def total(w):
        return loss(f, w, x) + jnp.mean(jnp.square(jax.grad(lambda x: jnp.sum(jnp.sin(f(x, w))))(x)))

    return jax.grad(total)(w)


@f_of
def test_pmap_mean_of_gradients_is_the_gradient_of_the_whole_batch(f):
    x, w = normal(0, 16, 6, 5, 4), normal(1, 3, 3, 4, 2)
    step = jax.pmap(
        lambda w, x: lax.pmean(penalised_gradient(f, w, x), "devices"),
        "devices",
        in_axes=(None, 0),
        out_axes=None,
    )
    got = step(w, x.reshape(8, 2, *x.shape[1:]))
    np.testing.assert_allclose(got, jax.jit(partial(penalised_gradient, f))(w, x), rtol=1e-4, atol=1e-6)


@f_of
def test_sharded_batch_gives_the_same_without_gathering_it(f):
    x, w = normal(0, 16, 6, 5, 4), normal(1, 3, 3, 4, 2)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), "devices")
    spread = jax.NamedSharding(mesh, jax.P("devices"))
    step = jax.jit(partial(penalised_gradient, f), in_shardings=(jax.NamedSharding(mesh, jax.P()), spread))
    np.testing.assert_allclose(step(w, jax.device_put(x, spread)), penalised_gradient(f, w, x), rtol=1e-4, atol=1e-6)
    text = step.lower(w, x).compile().as_text()
    assert not slow_convolutions(text)
    if f is not CONVOLUTIONS["grouped"]:  # XLA's partitioner gathers the batch of every grouped one, lax's too
        assert "all-reduce" in text and "all-gather" not in text


# Errors name the offender.


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 2, 4))), "groups"),
        (lambda: conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 1, 4)), groups=3), "groups"),
        (lambda: conv(jnp.zeros((1, 4, 3)), jnp.zeros((3, 3, 3, 4))), "spatial dimensions"),
        (lambda: conv(jnp.zeros((1, 4, 3)), jnp.zeros((3, 3, 4)), strides=(2, 2)), "strides"),
        (lambda: conv(jnp.zeros((1, 4, 3)), jnp.zeros((3, 3, 4)), padding=((-1, 0),)), "non-negative"),
        (lambda: conv(jnp.zeros((1, 4, 3)), jnp.zeros((5, 3, 4)), padding="VALID"), "larger"),
        (lambda: conv_transpose(jnp.zeros((1, 4, 3)), jnp.zeros((5, 4, 3))), "c_in"),
    ],
)
def test_errors_name_the_offender_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_without_compiling_they_are_the_same():
    """As who looks for a fault in a network of his own asks."""
    x, w = normal(0, 2, 8, 8, 3), normal(1, 3, 3, 3, 4)

    def loss(x, w):
        return jnp.sum(conv(x, w, 2, "SAME") ** 2)

    expected = jax.grad(loss, (0, 1))(x, w)
    with jax.disable_jit():
        for found, other in zip(jax.grad(loss, (0, 1))(x, w), expected, strict=True):
            np.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-4)
