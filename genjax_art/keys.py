"""Random keys by purpose: every random number of a run comes from (seed, step, player, purpose)."""

import zlib

import jax
from jaxtyping import Array, Int

from genjax_art.errors import UsageError
from genjax_art.spec import Key


def key_of(seed: int | Int[Array, ""]) -> Key:
    """The key of a seed, the same whatever kind of keys JAX is told to make.

    Raises:
      UsageError: a number that has no key of its own: keys are of 32 bits.
    """
    if isinstance(seed, int) and not -(2**31) <= seed < 2**31:
        raise UsageError(f"--seed must be below 2147483648, got {seed}")
    return jax.random.key(seed, impl="threefry2x32")


def fold(key: Key, purpose: str) -> Key:
    """A key for one purpose, named by a word (stable across processes and Python versions)."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))
