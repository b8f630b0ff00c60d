"""The precision in which a network computes, whatever network it is; all that goes in and comes out is float32.

Parameters are float32 in the state, in optimizers, averages and checkpoints. Where a network is applied they become
what it computes in, as do its floating inputs; other collections (batch statistics) stay float32, and what comes out
becomes float32 again. So losses, penalties and gradients are float32, and a network need not know its precision: it
computes in the dtype of what it is given. Micikevicius et al. 2018 (arXiv:1710.03740), without their loss scaling:
bfloat16 has the exponents of float32.

A GPU makes products of float32 numbers in TF32 by default, with 10 bits of mantissa, and a TPU in bfloat16. Here
float32 means float32, in the products and convolutions of a network and of all its derivatives, which inherit it.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax_art.errors import UsageError, unknown


@dataclass(frozen=True)
class Precision:
    compute: Any
    """Dtype of parameters and floating inputs inside a network."""
    products: str
    """JAX's name for how products and convolutions of what is float32 are made; it says nothing of narrower ones, whose
    sums GPU and TPU form in float32."""


PRECISIONS: Mapping[str, Precision] = {
    "float32": Precision(jnp.float32, "highest"),
    "tf32": Precision(jnp.float32, "tensorfloat32"),
    "bfloat16": Precision(jnp.bfloat16, "highest"),
}
DEFAULT = "float32"


def chosen(words: Sequence[str], networks: Sequence[str]) -> dict[str, str]:
    """The name of each network's precision: a word for all of them, `network=word` for one; else float32.

    Raises:
      UsageError: an unknown network or precision, or two for the same network.
    """
    found: dict[str, str] = {}
    for word in words:
        network, equals, name = word.rpartition("=")
        if name not in PRECISIONS:
            raise unknown("precision", name, PRECISIONS)
        if equals and network not in networks:
            raise unknown("network in precision", network, networks)
        if network in found:
            raise UsageError(f"two precisions for {network or 'all networks'}, {found[network]} and {name}: name one")
        found[network] = name
    return {network: found.get(network, found.get("", DEFAULT)) for network in networks}


def computing(network: nn.Module, name: str) -> nn.Module:
    """The network, with the same fields and methods, whose `apply` and `init` compute in the precision of that name.

    `apply` casts what is floating among its positional arguments; keyword arguments are settings, which stay as they
    are. First parameters are those of float32 in every precision. Within another module it is the network as it was:
    give the outer one its precision by `as_in`.

    Raises:
      UsageError: it is no Flax module, and not float32.
    """
    if not isinstance(network, nn.Module):  # of somebody's own: it may do as it likes in float32
        if name == DEFAULT:
            return network
        raise UsageError(f"precision {name} needs networks that are Flax modules, not {type(network).__name__}")
    fields = {f.name: getattr(network, f.name) for f in dataclasses.fields(network) if f.init and f.name != "parent"}
    kind: Any = type(network)
    plain = kind.__mro__[2] if _Computing in kind.__bases__ else kind
    return _class(plain, PRECISIONS[name])(**fields)


def as_in(inner: nn.Module, outer: nn.Module) -> nn.Module:
    """`outer`, a module around the network `inner`, in its precision; as it is where that has none."""
    precision = getattr(inner, "_computes_in", None)
    name = next((name for name, known in PRECISIONS.items() if known == precision), None)
    return outer if name is None else computing(outer, name)


def alike(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks compute in the same precision."""
    of_first, of_second = (getattr(network, "_computes_in", PRECISIONS[DEFAULT]) for network in (first, second))
    return bool(of_first == of_second)


class _Computing:
    """What comes before a network's class in one that computes in a precision."""

    _computes_in: Precision

    def apply(self, variables: Mapping[str, Any], *inputs: Any, **settings: Any) -> Any:
        precision = self._computes_in
        plain: Any = super()
        with jax.default_matmul_precision(precision.products):
            if precision.compute == jnp.float32:
                return plain.apply(variables, *inputs, **settings)
            inside = {name: narrowed(v, precision.compute) if name == "params" else v for name, v in variables.items()}
            return widened(plain.apply(inside, *narrowed(inputs, precision.compute), **settings))

    def init(self, *arguments: Any, **settings: Any) -> Any:
        plain: Any = super()
        with jax.default_matmul_precision(self._computes_in.products):
            return plain.init(*arguments, **settings)


@functools.cache
def _class(network: Any, precision: Precision) -> Any:
    """One class for each, so that equal networks stay equal."""
    about = {"__module__": network.__module__, "__qualname__": network.__qualname__, "__doc__": network.__doc__}
    return type(network)(network.__name__, (_Computing, network), {**about, "_computes_in": precision})


def narrowed(tree: Any, dtype: Any) -> Any:
    """The tree with its float32 leaves in `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype) if _dtype(x) == jnp.float32 else x, tree)


def widened(tree: Any) -> Any:
    """The tree with its narrower floating leaves in float32."""

    def wide(x: Any) -> Any:
        dtype = _dtype(x)
        narrow = dtype is not None and jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
        return x.astype(jnp.float32) if narrow else x

    return jax.tree.map(wide, tree)


def _dtype(x: Any) -> Any:
    return getattr(x, "dtype", None)
