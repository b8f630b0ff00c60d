"""Packs: a discriminator that judges several examples at once sees that they are all alike.

PacGAN: Lin et al. 2018 (arXiv:1712.04086). A pack of m examples is one example of m times the channels, so
that any discriminator takes packs, and its logits, penalties and losses are those of packs. They are successive rows of
the batch; where each device holds whole packs they are the same in every parallel mode.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import UsageError


def pack(x: Float[Array, "b *space c"], m: int) -> Float[Array, "p *space d"]:
    """Each m successive examples as one, the first one's channels first.

    Raises:
      UsageError: the rows (of one device and micro-batch) are not a multiple of m.
    """
    if len(x) % m:
        raise UsageError(f"packs of {m} need a multiple of that on each device and micro-batch, not {len(x)} rows")
    members = jnp.moveaxis(x.reshape(-1, m, *x.shape[1:]), 1, -2)
    return members.reshape(*members.shape[:-2], m * x.shape[-1])


def unpack(packs: Float[Array, "p *space d"], m: int) -> Float[Array, "b *space c"]:
    """The examples of the packs: the inverse of `pack`."""
    members = packs.reshape(*packs.shape[:-1], m, packs.shape[-1] // m)
    return jnp.moveaxis(members, -2, 1).reshape(-1, *packs.shape[1:-1], packs.shape[-1] // m)
