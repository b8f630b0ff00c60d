"""What this machine's device can do at best, by measurement: a matrix product by precision, and a copy."""

from functools import cache

import jax
import jax.numpy as jnp

from genjax_art.models.precision import PRECISIONS
from genjax_art.run.timing import seconds_in_rounds
from genjax_art.train.compile import compiler_options

LEAST, ROUNDS = 0.05, 5  # seconds of a round, rounds, of which the fastest counts


@cache
def product_peak(precision: str, size: int | None = None) -> float:
    """FLOP/s of a product of two square matrices of normal numbers, as a network in that precision makes it; measured
    once in a process.

    Args:
      precision: float32, tf32 or bfloat16, see `models/precision.py`.
      size: rows of the matrices; by default 8192, on CPU 1024.
    """
    size = size or (1024 if jax.default_backend() == "cpu" else 8192)
    known = PRECISIONS[precision]
    a = jax.random.normal(jax.random.key(0), (size, size), known.compute)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=known.products), compiler_options=compiler_options())
    return 2 * size**3 / min(seconds_in_rounds(lambda: product(a), LEAST, ROUNDS))


def copy_peak(numbers: int | None = None) -> float:
    """Bytes/s that an elementwise pass over so many float32 numbers reads and writes; by default 2^28, on CPU 2^24."""
    numbers = numbers or (2**24 if jax.default_backend() == "cpu" else 2**28)
    x = jnp.arange(numbers, dtype=jnp.float32)
    add = jax.jit(lambda x: x + 1.0)
    return 8 * numbers / min(seconds_in_rounds(lambda: add(x), LEAST, ROUNDS))
