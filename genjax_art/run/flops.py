"""How many floating-point operations a function asks for: those of its matrix products and convolutions.

Counted in what JAX traces, so that the number is the same on every platform, whichever kernels a compiler takes; sums,
activations and optimizers, which wait for memory anyway, are not counted. It is the numerator of what the literature
calls model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B).
"""

from math import prod
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from genjax_art.models.convolution import conv_p, input_gradient_p, kernel_gradient_p


def flops_in(traced: ClosedJaxpr) -> float:
    """Two for each multiplication and addition of the products and convolutions in what JAX has traced.

    A loop counts as often as it runs where that is known, else once; of branches the costliest counts. A product with a
    padding's zeros counts where our own convolutions have it. Of a compiled step see `train.compile.jaxpr_of`.
    """
    return float(_count(traced.jaxpr))


def _count(jaxpr: Jaxpr) -> float:
    return sum((_of_equation(equation) for equation in jaxpr.eqns), 0.0)


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        left, (contracted, _) = equation.invars[0].aval.shape, params["dimension_numbers"][0]
        return 2.0 * prod(equation.outvars[0].aval.shape) * prod(left[axis] for axis in contracted)
    if equation.primitive in (conv_p, input_gradient_p, kernel_gradient_p):
        return _of_convolution(equation)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
        return 2 * prod(equation.outvars[0].aval.shape) * prod(kernel) / kernel[numbers[0]]
    inner = [_count(part) for value in params.values() for part in _jaxprs(value)]
    if name == "cond":
        return max(inner, default=0.0)
    return sum(inner, 0.0) * (params["length"] if name == "scan" else 1)


def _of_convolution(equation: Any) -> float:
    """Of y = x * w and of both its gradients alike: each number of y with each of a filter."""
    geometry = equation.params["geometry"]
    shapes = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
    if equation.primitive is conv_p:
        _, kernel, y = shapes
    elif equation.primitive is input_gradient_p:
        y, kernel, _ = shapes
    else:
        _, y, kernel = shapes
    assert y[1:-1] == tuple(geometry.outputs)
    return 2 * prod(y) * prod(kernel) / kernel[-1]


def _jaxprs(value: Any) -> list[Jaxpr]:
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, Jaxpr):
        return [value]
    return [part for item in value for part in _jaxprs(item)] if isinstance(value, tuple | list) else []
