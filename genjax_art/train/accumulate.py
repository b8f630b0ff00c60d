"""Gradient accumulation: the gradient of a batch in the memory of a micro-batch.

What is a mean over examples is the same as of one batch, up to rounding, random draws included (`shards.py`). What
looks at the batch as a whole sees one micro-batch: batch norm, the means inside a loss (relativistic average, free bits
of a latent number, DRAGAN's noise), the best fakes of top-k, an unrolled discriminator, the signs of collapse.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from genjax_art.shards import micro_batch, micro_batches
from genjax_art.spec import Batch, Key, Params
from genjax_art.train.player import Loss

Found = tuple[tuple[Array, tuple[Mapping[str, Array], Mapping[str, Any]]], Params]


def value_and_gradient(loss: Loss, count: int = 1) -> Any:
    """`jax.value_and_grad(loss, has_aux=True)`, one after another for `count` micro-batches, and the means of all.

    Every micro-batch sees the extras from before the update. After it they are the means of what the micro-batches
    left: running averages move once an update, and what does not depend on examples, such as the vectors of spectral
    norm, is as after one batch. Of whole numbers (counts of updates) it is the last one's. Sums are formed in float32
    at least.

    Raises:
      ValueError: when called, rows of which the micro-batches cannot have equally many.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    if count == 1:
        return gradient

    def accumulated(
        own: Params, others: Mapping[str, Params], extras: Mapping[str, Any], batch: Batch, key: Key
    ) -> Found:
        if odd := {name: len(x) for name, x in batch.items() if len(x) % count}:
            raise ValueError(f"a device's share of the batch has {odd} rows, not a multiple of {count} micro-batches")
        rows = {len(x) // count for x in batch.values()}
        if len(rows) != 1:
            raise ValueError("a batch that is cut into micro-batches needs as many rows in each of its arrays")

        def body(total: Any, part: tuple[Array, Batch]) -> tuple[Any, Any]:
            index, batch = part
            with micro_batch(index, count, *rows):
                (value, (metrics, after)), slope = gradient(own, others, extras, batch, key)
            return jax.tree.map(_plus, total, (slope, after)), (value, dict(metrics))

        parts = {name: micro_batches(x, count) for name, x in batch.items()}
        like = own, extras
        total, found = jax.lax.scan(body, jax.tree.map(_nothing, like), (jnp.arange(count), parts))
        slope, after = jax.tree.map(lambda x, sum: _mean(sum, count).astype(x.dtype), like, total)
        value, metrics = jax.tree.map(lambda x: jnp.mean(x, 0), found)
        return (value, (metrics, after)), slope

    return accumulated


def _real(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _nothing(x: Array) -> Array:
    return jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32) if _real(x) else x.dtype)


def _plus(total: Array, x: Array) -> Array:
    return total + x.astype(total.dtype) if _real(x) else x


def _mean(total: Array, count: int) -> Array:
    return total / count if _real(total) else total
