"""What is counted against closed forms, and against XLA's own count where it has one."""

import jax
import jax.numpy as jnp
import pytest

from genjax_art.models.convolution import conv, conv_transpose
from genjax_art.run.flops import flops_in

X, W = jax.ShapeDtypeStruct((2, 8, 6, 4), jnp.float32), jax.ShapeDtypeStruct((3, 3, 2, 10), jnp.float32)
OF_CONV = 2 * (2 * 4 * 3 * 10) * (3 * 3 * 2)


def flops_of(f, *arguments):
    return flops_in(jax.make_jaxpr(f)(*arguments))


def grouped(x, w):
    return conv(x, w, 2, "SAME", 2)


def test_products_and_loops():
    a, b = jnp.zeros((3, 4)), jnp.zeros((4, 5))
    assert flops_of(jnp.matmul, a, b) == 2 * 3 * 4 * 5
    assert flops_of(lambda a, b: jax.lax.scan(lambda c, _: (c, c @ b), a, None, length=7), a, b) == 7 * 2 * 3 * 4 * 5
    assert flops_of(jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), (0, 1)), a, b) == 3 * 2 * 3 * 4 * 5
    assert flops_of(jax.jit(lambda a, b: jax.nn.relu(a) @ b), a, b) == 2 * 3 * 4 * 5
    branches = lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: (a @ b) @ jnp.zeros((5, 5)))  # noqa: E731
    assert flops_of(branches, a, b) == 2 * 3 * 5 * (4 + 5)


def test_a_convolution_and_both_its_gradients_cost_the_same():
    assert flops_of(grouped, X, W) == OF_CONV
    assert flops_of(jax.grad(lambda x, w: jnp.sum(grouped(x, w) ** 2), 0), X, W) == 2 * OF_CONV
    assert flops_of(jax.grad(lambda x, w: jnp.sum(grouped(x, w) ** 2), (0, 1)), X, W) == 3 * OF_CONV


@pytest.mark.parametrize("f", [conv, conv_transpose])
def test_as_xla_counts_where_there_is_no_padding(f):
    x, w = jnp.ones((2, 8, 6, 4)), jnp.ones((3, 3, 4, 10))
    numbers = ("NHWC", "HWIO", "NHWC")
    if f is conv:
        plain = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=numbers)  # noqa: E731
    else:
        plain = lambda x, w: jax.lax.conv_transpose(x, w, (1, 1), "VALID", dimension_numbers=numbers)  # noqa: E731
    ours = flops_of(lambda x, w: f(x, w, 1, "VALID"), x, w)
    assert ours == pytest.approx(jax.jit(plain).lower(x, w).cost_analysis()["flops"])
