"""The machine: its versions, and what it can do at best, by measurement."""

import os
import platform
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from genjax_art.benchmark.device.row import Row, seconds_of

PRODUCTS: dict[str, tuple[Any, Any]] = {
    "bfloat16": (jnp.bfloat16, None),
    "tf32": (jnp.float32, "tensorfloat32"),
    "float32": (jnp.float32, "highest"),
}


def rows(tiny: bool) -> Iterator[Row]:
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    yield Row(
        "machine",
        {
            "device": device.device_kind,
            "devices": jax.local_device_count(),
            "memory_gib": round(stats.get("bytes_limit", 0) / 2**30, 1),
            "cores": os.cpu_count(),
            "jax": jax.__version__,
            "python": platform.python_version(),
        },
    )
    for name in PRODUCTS:
        yield Row(f"product {name}", {"tflops": round(product_peak(name, 256 if tiny else 8192) / 1e12, 2)})
    yield Row("copy", {"gbytes_per_s": round(copy_peak(2**20 if tiny else 2**30) / 1e9, 1)})


def product_peak(precision: str, n: int = 8192) -> float:
    """FLOP/s of a product of two n x n matrices of normal numbers."""
    dtype, passes = PRODUCTS[precision]
    a = jax.random.normal(jax.random.key(0), (n, n), dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=passes))
    return 2 * n**3 / seconds_of(lambda: product(a, a))


def copy_peak(numbers: int) -> float:
    """Bytes/s of an elementwise pass over that many float32 numbers, read and written."""
    x = jnp.arange(numbers, dtype=jnp.float32)
    add = jax.jit(lambda x: x + 1.0)
    return 8 * numbers / seconds_of(lambda: add(x))
