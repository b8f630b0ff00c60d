"""Settings of the whole process, for entry scripts, made before JAX starts."""

import ctypes
import os
import platform
import re
import sys
import warnings

import jax

from genjax_art.errors import RunError
from genjax_art.files import cache_home

CACHE_VARIABLE = "GENJAX_ART_COMPILATION_CACHE"  # a folder, or "off"
COORDINATOR_VARIABLE = "JAX_COORDINATOR_ADDRESS"  # that `jax.distributed.initialize` reads
USUAL = {
    "jax_enable_x64": (False, "networks and runs are of 32-bit numbers"),
    "jax_threefry_partitionable": (True, "a run resumes to the same numbers"),
    "jax_random_seed_offset": (0, "a run resumes to the same numbers"),
}


def prepare_process() -> None:
    """Enough threads for simulated devices, memory that is kept, compiled programs that are remembered.

    Raises:
      RunError: JAX_PLATFORMS names a platform that is not here.
    """
    _usual_numbers()
    _threads_for_simulated_devices()
    _keep_memory()
    _remember_programs()
    _check_platforms()


def check_alone() -> None:
    """Refuses to be one of several processes: a run is trained, and its folder written, by one.

    Each of them refuses, so none waits for the others.

    Raises:
      RunError: `jax.distributed` was set up for several, or its variable asks for that.
    """
    # asked for only there: it opens the devices
    if jax.distributed.is_initialized() and (count := jax.process_count()) > 1:
        found = f"this is process {jax.process_index()} of {count}"
    elif address := os.environ.get(COORDINATOR_VARIABLE):
        found = f"{COORDINATOR_VARIABLE}={address} asks for several: unset it"
    else:
        return
    raise RunError(f"a run is trained by one process, on any number of its devices, and {found}")


def _remember_programs() -> None:
    folder = os.environ.get(CACHE_VARIABLE)
    if folder == "off":
        return
    if folder is None:
        folder = str(cache_home() / "genjax_art" / "compiled")
    # programs with oneDNN calls cannot be written to the cache (jaxlib 0.12); they are compiled anew, which is no news
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _usual_numbers() -> None:
    """Switches off what the environment may ask for and would make a run another one: 64-bit numbers, other keys."""
    for name, (usual, why) in USUAL.items():
        if jax.config.values.get(name, usual) != usual:
            print(f"{name.upper()} is ignored: {why}", file=sys.stderr, flush=True)
            jax.config.update(name, usual)


def _check_platforms() -> None:
    asked = jax.config.values.get("jax_platforms")
    if not asked or asked == "cpu":
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        jax.config.update("jax_platforms", "")
        try:
            there = sorted({device.platform for device in jax.devices()} | {"cpu"})
        except RuntimeError:
            there = ["cpu"]
        raise RunError(
            f"JAX_PLATFORMS asks for {asked}, which this JAX does not have; there is: {', '.join(there)}. Unset "
            "JAX_PLATFORMS, or install JAX with the plugin of that platform"
        ) from error


def _threads_for_simulated_devices() -> None:
    """More of XLA's threads where XLA_FLAGS asks for more CPU devices than there are cores.

    With as many threads as devices, collectives of steps under way at once can wait for one another for ever.
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
