"""The one place that knows devices: where a step runs, how its state and batches get there, compiler options.

All three modes run the same step on the same global batch and give the same parameters:
  jit   one device.
  pmap  one program per local device; only the batch has a device axis, the state never has one.
  mesh  `jit` over a mesh of all devices that this process's JAX knows, the batch sharded by rows, the state replicated.
        Nothing here calls `jax.distributed.initialize`: several processes are the caller's to set up. A run in a
        folder is trained by one process (see `process.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax_art.shards import DEVICE_AXIS
from genjax_art.train.state import TrainState
from genjax_art.train.step import Step

How = Literal["jit", "pmap", "mesh"]


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
