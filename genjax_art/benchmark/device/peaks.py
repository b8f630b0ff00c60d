"""The machine: its versions, and what it can do at best, by measurement."""

import os
import platform
from collections.abc import Iterator

import jax

from genjax_art.benchmark.device.row import PRECISIONS, Row
from genjax_art.run.peaks import copy_peak, product_peak


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
    for name in reversed(PRECISIONS):
        yield Row(f"product {name}", {"tflops": round(product_peak(name, 256 if tiny else None) / 1e12, 2)})
    yield Row("copy", {"gbytes_per_s": round(copy_peak(2**20 if tiny else None) / 1e9, 1)})
