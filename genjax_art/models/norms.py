"""Normalisation by labels, by weights, by itself or by the other examples of a batch; batch norm is in `layers.py`."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.models.layers import BatchNorm, Embed, in_float32, wide
from genjax_art.spec import Key, Label

GeneratorNorm = Literal["none", "batch", "conditional_batch"]
# Not "batch_stats": they depend on the weights alone, so examples stay independent of one another.
SPECTRAL = "spectral"


def spectral(layer: nn.Module, x: Array, train: bool) -> Any:
    """`layer(x)` with weights over their largest singular value, by one power iteration in each training call.

    Miyato et al. 2018 (arXiv:1802.05957). Convolutions count as matrices of one column a filter. The
    iterated vectors are in the collection `SPECTRAL`.
    """
    return SpectralNorm(layer, collection_name=SPECTRAL)(x, update_stats=train)


class SpectralNorm(nn.SpectralNorm):
    """That of Flax, with the iteration and the division in float32, and weights of the dtype that they had before."""

    def _spectral_normalize(self, path: Any, vs: Array, update_stats: bool) -> Array:
        found: Array = super()._spectral_normalize(path, wide(vs), update_stats)
        return found.astype(vs.dtype)


def near_one(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """1 with a standard deviation of 0.02, as DCGAN initialises its gains, so that classes differ from the start."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def normalised(
    h: Float[Array, "b *space c"], norm: GeneratorNorm, classes: int, label: Label | None, train: bool
) -> Float[Array, "b *space c"]:
    """`h` by a norm of generators, whose layer belongs to the module that calls this."""
    if norm == "conditional_batch":
        return ConditionalBatchNorm(classes)(h, label, train)
    return BatchNorm()(h, train) if norm == "batch" else h


class LayerNorm(nn.Module):
    """Each position by the mean and the deviation of its own channels (Ba et al. 2016, arXiv:1607.06450), with learned
    gain and bias: `nn.LayerNorm` with the same parameters, all of it in float32 at least."""

    bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        exact, shape = wide(x), (x.shape[-1],)
        off = exact - jnp.mean(exact, -1, keepdims=True)
        y = off * jax.lax.rsqrt(jnp.mean(off**2, -1, keepdims=True) + 1e-6)
        around = (1,) * (x.ndim - 1) + shape
        y = y * in_float32(self.param("scale", nn.initializers.ones, shape)).reshape(around)
        if self.bias:
            y = y + in_float32(self.param("bias", nn.initializers.zeros, shape)).reshape(around)
        return y.astype(x.dtype)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are looked up by label (arXiv:1707.00683); without labels the plain one."""

    classes: int  # 0: unconditional

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], label: Label | None, train: bool) -> Float[Array, "b *space c"]:
        if label is None:
            return BatchNorm()(x, train)
        y = BatchNorm(affine=False)(x, train)
        tables = {"gain": near_one, "bias": nn.initializers.zeros}
        gain, bias = (
            in_float32(Embed(self.classes, x.shape[-1], init, name=name)(label)).reshape(
                -1, *(1,) * (x.ndim - 2), x.shape[-1]
            )
            for name, init in tables.items()
        )
        return (wide(y) * gain + bias).astype(x.dtype)


class MinibatchDeviation(nn.Module):
    """One channel more, in which a discriminator sees how much the examples of a group differ from one another.

    It is the standard deviation over the group of each feature at each place, averaged over features and places, and
    the same number everywhere: Karras et al. 2018 (arXiv:1710.10196), where the group is the minibatch, in
    the authors' code 4 of it. Here it is `group` successive examples: a group then lies among the reals or among the
    fakes of a stacked batch and on one device, so that all parallel modes see the same groups. A slope penalty through
    it counts what an example does to the logits of its group, too.

    Raises:
      UsageError: the rows (of one device and micro-batch) are not a multiple of the group.
    """

    group: int

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space d"]:
        group = len(x) if self.is_initializing() else self.group
        if len(x) % group:
            raise UsageError(
                f"minibatch deviation in groups of {group} needs a multiple of that on each device and micro-batch"
            )
        groups = x.astype(jnp.float32).reshape(-1, group, *x.shape[1:])
        deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8)
        mean = jnp.repeat(jnp.mean(deviation, axis=tuple(range(1, x.ndim))), group)
        channel = jnp.broadcast_to(mean.reshape(-1, *(1,) * (x.ndim - 1)), (*x.shape[:-1], 1))
        return jnp.concatenate([x, channel.astype(x.dtype)], -1)
