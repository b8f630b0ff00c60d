"""Random keys by purpose: every random number of a run comes from (seed, step, player, purpose)."""

import zlib

import jax

from genjax_art.spec import Key


def fold(key: Key, purpose: str) -> Key:
    """A key for one purpose, named by a word (stable across processes and Python versions)."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))
