"""Normalisation that looks at labels, at weights or at the other examples of a batch; batch norm is in `layers.py`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.models.layers import BatchNorm
from genjax_art.spec import Key

# Not "batch_stats": they depend on the weights alone, so examples stay independent of one another.
SPECTRAL = "spectral"


def spectral(layer: nn.Module, x: Array, train: bool) -> Any:
    """`layer(x)` with weights over their largest singular value, by one power iteration in each training call.

    Miyato et al. 2018, algorithm 1 (arXiv:1802.05957). Convolutions count as matrices of one column a filter. The
    iterated vectors are in the collection `SPECTRAL`.
    """
    return nn.SpectralNorm(layer, collection_name=SPECTRAL)(x, update_stats=train)


def near_one(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """1 with a standard deviation of 0.02, so that classes differ from the start."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are looked up by label (arXiv:1707.00683); without labels the plain one."""

    classes: int  # 0: unconditional

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], label: Int[Array, " b"] | None, train: bool
    ) -> Float[Array, "b *space c"]:
        if label is None:
            return BatchNorm()(x, train)
        y = BatchNorm(affine=False)(x, train)
        tables = {"gain": near_one, "bias": nn.initializers.zeros}
        gain, bias = (
            nn.Embed(self.classes, x.shape[-1], embedding_init=init, name=name)(label).reshape(
                -1, *(1,) * (x.ndim - 2), x.shape[-1]
            )
            for name, init in tables.items()
        )
        return y * gain + bias
