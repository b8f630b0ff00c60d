"""Strict numbers for the whole suite: eight simulated devices, no silent broadcast or dtype promotion."""

import os

# LLVM does not optimise: a test compiles much and computes little. Flags of the environment come last and win.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 " + os.environ.get("XLA_FLAGS", "")
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["GENJAX_ART_COMPILATION_CACHE"] = "off"  # a test never depends on what an earlier run compiled

from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout (MNIST by TFDS, emoji, sprites, chorales); tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside this checkout")
    return SHARED_DATA
