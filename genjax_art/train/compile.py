"""The one place that knows devices: where a step runs, how its state and batches get there, compiler options.

All three modes run the same step on the same global batch and give the same parameters:
  jit   one device.
  pmap  one program per local device; only the batch has a device axis, the state never has one.
  mesh  `jit` over a mesh of all devices that this process's JAX knows, the batch sharded by rows, the state replicated.
        Nothing here calls `jax.distributed.initialize`: several processes are the caller's to set up.
"""

import ctypes
import os
import platform
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax_art.shards import DEVICE_AXIS
from genjax_art.train.state import TrainState
from genjax_art.train.step import Step

How = Literal["jit", "pmap", "mesh"]
CACHE_VARIABLE = "GENJAX_ART_COMPILATION_CACHE"  # a folder, or "off"


@dataclass(frozen=True)
class Compiled:
    """`step(state, batch)` donates its state: keep only the returned one."""

    step: Step
    put_state: Callable[[TrainState], TrainState]  # from any layout, e.g. a restored checkpoint
    put_batch: Callable[[Mapping[str, Any]], Mapping[str, Any]]  # this process's rows of the global batch
    how: How


def default_how() -> How:
    """`jit` on one device, `pmap` on several local ones, `mesh` where JAX was set up with several processes."""
    if jax.process_count() > 1:
        return "mesh"
    return "pmap" if jax.local_device_count() > 1 else "jit"


def compile_step(step: Step, how: How = "jit", *, mesh: Mesh | None = None, onednn: bool = True) -> Compiled:
    """`step` compiled for one device (`jit`), the local devices (`pmap`) or a mesh of devices (`mesh`).

    Args:
      step: from `make_step`.
      how: see the module docstring.
      mesh: for `mesh`; its axis named by `DEVICE_AXIS` shards the batch. Default: all devices on that axis.
      onednn: use oneDNN's convolutions on CPU, where the installed jaxlib has them.

    Raises:
      ValueError: an unknown `how`; when called, `put_batch` on rows that the devices cannot share equally.
    """
    if how == "jit":
        compiled = jax.jit(step, donate_argnums=0, compiler_options=compiler_options(onednn))
        device = jax.local_devices()[0]
        return Compiled(
            compiled,
            lambda state: _put(state, device),
            lambda batch: jax.device_put(dict(batch), device),
            how,
        )
    if how == "pmap":
        mapped = jax.pmap(step, DEVICE_AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0)
        n = jax.local_device_count()
        replicated = NamedSharding(Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,)), PartitionSpec())
        return Compiled(mapped, lambda state: _put(state, replicated), lambda batch: _split(batch, n), how)
    if how == "mesh":
        mesh = mesh or Mesh(np.array(jax.devices()), (DEVICE_AXIS,))
        rows, replicated = (
            NamedSharding(mesh, PartitionSpec(DEVICE_AXIS)),
            NamedSharding(mesh, PartitionSpec()),
        )
        sharded = jax.jit(
            step,
            in_shardings=(replicated, rows),
            out_shardings=(replicated, replicated),
            donate_argnums=0,
            compiler_options=compiler_options(onednn),
        )

        def put_batch(batch: Mapping[str, Any]) -> Mapping[str, Any]:
            _check_rows(batch, mesh.local_mesh.shape[DEVICE_AXIS])
            return {name: jax.make_array_from_process_local_data(rows, np.asarray(x)) for name, x in batch.items()}

        return Compiled(sharded, lambda state: _put(state, replicated), put_batch, how)
    raise ValueError(f"unknown parallel mode {how!r}; known: jit, pmap, mesh")


def _put(state: TrainState, where: Any) -> TrainState:
    # through the host, so that any layout is accepted; a copy, since the step donates what it is given
    return jax.device_put(jax.tree.map(lambda x: np.array(x), state), where)


def _split(batch: Mapping[str, Any], n: int) -> Mapping[str, Any]:
    _check_rows(batch, n)
    return {name: np.asarray(x).reshape(n, -1, *np.shape(x)[1:]) for name, x in batch.items()}


def _check_rows(batch: Mapping[str, Any], n: int) -> None:
    for name, x in batch.items():
        if len(x) % n:
            raise ValueError(f"batch {name!r} has {len(x)} rows, not a multiple of {n} devices: change the batch size")


def compiler_options(onednn: bool = True) -> dict[str, Any] | None:
    """Compiler options for the default backend.

    jaxlib 0.12 can send plain convolutions and products on CPU to oneDNN (190 instead of 150 GFLOP/s on two cores);
    older ones accept the options without effect, and one that does not know them would refuse to start. Sums stay with
    YNNPACK, which is quicker at them (XLA's own sums of batch statistics take a fifth of a step).
    """
    if jax.default_backend() != "cpu" or not onednn or jax.version.__version_info__ < (0, 12):
        return None
    return {
        "xla_cpu_use_onednn": True,
        "xla_cpu_experimental_onednn_custom_call": True,
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
    }


def prepare_process() -> None:
    """Settings of the whole process, for entry scripts, before JAX starts: threads enough for simulated devices, memory
    that is kept, compilations that are remembered."""
    _threads_for_simulated_devices()
    _keep_memory()
    folder = os.environ.get(CACHE_VARIABLE)
    if folder == "off":
        return
    if folder is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(cache) / "genjax_art" / "compiled")
    # programs with oneDNN calls cannot be written to the cache (jaxlib 0.12); they are compiled again each time
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _threads_for_simulated_devices() -> None:
    """More of XLA's threads where XLA_FLAGS asks for more CPU devices than there are cores.

    With as many threads as devices, collectives of steps under way at once can wait for one another without end.
    """
    asked = re.findall(r"--xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    if asked and int(asked[-1]) > (os.cpu_count() or 1):  # the last one holds
        os.environ.setdefault("PJRT_NPROC", str(4 * int(asked[-1])))


def _keep_memory() -> None:
    """Tell glibc to keep freed buffers instead of returning them after each step and faulting them in again.

    All threads share one arena: others cannot hold buffers above 64 MB, which would be mapped and unmapped at each
    step whatever the settings (a quarter of the time of a step with 100 MB). Its first 8 GB, or what there is, are put
    on huge pages, where Linux gives them (madvise): some per cent of a small step, a third of one with 5 GB. The
    numbers are those of malloc.h and mman.h.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, top_pad, mmap_max, arena_max, hugepage = -1, -2, -4, -8, 14
    libc = ctypes.CDLL(None)
    libc.mallopt(arena_max, 1)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)  # never trimmed
    libc.mallopt(top_pad, 256 * 2**20)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    page = 2**21
    for room in (2**33, 2**32, 2**31, 2**30):  # addresses only; memory is taken when it is first used
        if (buffer := libc.malloc(ctypes.c_size_t(room))) is not None:
            break
    else:
        return
    start, end = -(-buffer // page) * page, libc.sbrk(ctypes.c_ssize_t(0)) // page * page
    libc.free(ctypes.c_void_p(buffer))
    if start < end <= buffer + 2 * room:  # else it lies elsewhere than on the heap
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), hugepage)
