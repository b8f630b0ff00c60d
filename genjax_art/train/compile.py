"""The one place that knows devices: where steps run, how their state and batches get there, compiler options.

All three modes run the same step on the same global batch and give the same parameters:
  jit   one device.
  pmap  one program per local device; only the batch has a device axis, the state never has one.
  mesh  one program over a mesh of all devices that this process's JAX knows, the batch sharded by rows, the state
        replicated.
        Nothing here calls `jax.distributed.initialize`: several processes are the caller's to set up. A run in a
        folder is trained by one process (see `process.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from genjax_art.shards import DEVICE_AXIS
from genjax_art.spec import Batch
from genjax_art.train.player import Metrics
from genjax_art.train.resident import HOST, Resident
from genjax_art.train.state import TrainState
from genjax_art.train.step import Step

How = Literal["jit", "pmap", "mesh"]
Put = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Data = Mapping[str, jax.Array]
Several = Callable[[TrainState, Batch], tuple[TrainState, Mapping[str, Float[Array, " k"]]]]


@dataclass(frozen=True)
class Compiled:
    """`step(state, batch)` donates its state: keep only the returned one.

    `several(state, batches)` makes k steps in one call: the leaves of its batches have a new first axis of length k,
    and so have the metrics that it returns.
    """

    step: Step
    several: Several
    put_state: Callable[[TrainState], TrainState]  # from any layout, e.g. a restored checkpoint
    put_batch: Put  # this process's rows of the global batch
    put_batches: Put  # the same of k batches, stacked
    how: How


def default_how() -> How:
    """`jit` on one device, `pmap` on several local ones, `mesh` where JAX was set up with several processes."""
    if jax.process_count() > 1:
        return "mesh"
    return "pmap" if jax.local_device_count() > 1 else "jit"


def compile_step(
    step: Step, how: How = "jit", *, mesh: Mesh | None = None, onednn: bool = True, data: Resident = HOST
) -> Compiled:
    """`step` compiled for one device (`jit`), the local devices (`pmap`) or a mesh of devices (`mesh`).

    Args:
      step: from `make_step`.
      how: see the module docstring.
      mesh: for `mesh`; its axis named by `DEVICE_AXIS` shards the batch. Default: all devices on that axis.
      onednn: use oneDNN's convolutions on CPU, where the installed jaxlib has them.
      data: lie on every device; batches are then the numbers of their rows (see `resident.py`).

    Raises:
      ValueError: an unknown `how`, or a mesh without that axis; when called, `put_batch` on rows that the devices
        cannot share equally.
    """

    if how == "jit":
        return _jit(step, data, compiler_options(onednn))
    if how == "pmap":
        return _pmap(step, data)
    if how == "mesh":
        mesh = mesh or Mesh(np.array(jax.devices()), (DEVICE_AXIS,))
        if DEVICE_AXIS not in mesh.axis_names:
            raise ValueError(
                f"a mesh of the axes {', '.join(mesh.axis_names)}: name the one of the batch {DEVICE_AXIS!r}"
            )
        return _mesh(step, data, compiler_options(onednn), mesh)
    raise ValueError(f"unknown parallel mode {how!r}; known: jit, pmap, mesh")


def _bodies(step: Step, data: Resident) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(state, batch, arrays of the data) -> (state, metrics), of one step and of several."""

    def one(state: TrainState, batch: Batch, arrays: Data) -> tuple[TrainState, Metrics]:
        return step(state, data.read(batch, arrays))

    def several(state: TrainState, batches: Batch, arrays: Data) -> Any:
        names: list[str] = []  # of metrics that are float32: all of a step lie side by side, to be written at once

        def body(state: TrainState, batch: Batch) -> Any:
            state, metrics = one(state, batch, arrays)
            names[:] = [name for name, value in metrics.items() if value.dtype == jnp.float32]
            others = {name: value for name, value in metrics.items() if name not in names}
            return state, (jnp.stack([metrics[name] for name in names]), others)

        state, (rows, others) = jax.lax.scan(body, state, batches)
        return state, {**dict(zip(names, rows.T, strict=True)), **others}

    return one, several


def _jit(step: Step, data: Resident, options: dict[str, Any] | None) -> Compiled:
    device = jax.local_devices()[0]
    programs = [jax.jit(body, donate_argnums=0, compiler_options=options) for body in _bodies(step, data)]

    def put(batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return jax.device_put(dict(batch), device)

    return _compiled("jit", programs, (put, put), data, device)


def _pmap(step: Step, data: Resident) -> Compiled:
    n = jax.local_device_count()
    everywhere = NamedSharding(Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,)), PartitionSpec())
    programs = [
        jax.pmap(body, DEVICE_AXIS, in_axes=(None, 0, None), out_axes=None, donate_argnums=0)
        for body in _bodies(step, data)
    ]

    def split(batch: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_rows(batch, n)
        return {name: np.asarray(x).reshape(n, -1, *np.shape(x)[1:]) for name, x in batch.items()}

    def split_each(batches: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_rows(batches, n, axis=1)
        wide = {name: np.reshape(x, (len(x), n, -1, *np.shape(x)[2:])) for name, x in batches.items()}
        return {name: np.swapaxes(x, 0, 1) for name, x in wide.items()}

    return _compiled("pmap", programs, (split, split_each), data, everywhere)


def _mesh(step: Step, data: Resident, options: dict[str, Any] | None, mesh: Mesh) -> Compiled:
    whole, parts = PartitionSpec(), [PartitionSpec(*axes, DEVICE_AXIS) for axes in ((), (None,))]
    everywhere, *rows = (NamedSharding(mesh, spec) for spec in (whole, *parts))

    def each(body: Callable[..., Any], part: PartitionSpec) -> Callable[..., Any]:
        # Each device computes on its own rows. Left to XLA's partitioner, real and fake rows stacked in one batch would
        # wander, and every grouped convolution would gather the batch. That the state stays the same everywhere is the
        # step's doing, which JAX cannot see (`check_vma`).
        return jax.shard_map(body, mesh=mesh, in_specs=(whole, part, whole), out_specs=whole, check_vma=False)

    programs = [
        jax.jit(
            each(body, part),
            in_shardings=(everywhere, where, everywhere),
            out_shardings=(everywhere, everywhere),
            donate_argnums=0,
            compiler_options=options,
        )
        for body, part, where in zip(_bodies(step, data), parts, rows, strict=True)
    ]

    def put_at(axis: int) -> Put:
        def put(batch: Mapping[str, Any]) -> Mapping[str, Any]:
            _check_rows(batch, mesh.local_mesh.shape[DEVICE_AXIS], axis)
            make = partial(jax.make_array_from_process_local_data, rows[axis])
            return {name: make(np.asarray(x)) for name, x in batch.items()}

        return put

    return _compiled("mesh", programs, (put_at(0), put_at(1)), data, everywhere)


def _compiled(how: How, programs: Sequence[Any], puts: tuple[Put, Put], data: Resident, where: Any) -> Compiled:
    """The programs of one step and of several, given the data where they run."""
    arrays = jax.device_put(dict(data.arrays), where)
    step, several = (_OnData(program, arrays) for program in programs)
    return Compiled(step, several, lambda state: _put(state, where), *puts, how)


@dataclass(frozen=True, repr=False)
class _OnData:
    program: Any  # of `jax.jit` or `jax.pmap`
    arrays: Data

    def __call__(self, state: TrainState, batch: Mapping[str, Any]) -> Any:
        return self.program(state, batch, self.arrays)


def lower(
    call: Step | Several, state: Any, batch: Mapping[str, Any], platforms: tuple[str, ...] | None = None
) -> jax.stages.Lowered:
    """The program of a `Compiled`'s `step` or `several`, not yet compiled; nothing is run.

    Args:
      call: from `compile_step`.
      state, batch: as for a call, or their shapes.
      platforms: lowered for these ("cuda", "tpu"), whatever this machine has; `jit` and `mesh` only.
    """
    assert isinstance(call, _OnData), "a step of compile_step"
    if platforms is None:
        return call.program.lower(state, batch, call.arrays)
    return call.program.trace(state, batch, call.arrays).lower(lowering_platforms=platforms)


def jaxpr_of(call: Step | Several, state: Any, batch: Mapping[str, Any]) -> ClosedJaxpr:
    """What JAX traces of a `Compiled`'s `step` or `several`, of `jit` and `mesh`; nothing is run.

    `jax.make_jaxpr` of it would refuse the compiler's options that it is called with.
    """
    assert isinstance(call, _OnData), "a step of compile_step"
    found: ClosedJaxpr = call.program.trace(state, batch, call.arrays).jaxpr
    return found


def run_once(f: Callable[..., Any], *arguments: Any) -> Any:
    """What `f` gives, compiled whole, which is quicker than piecewise, and with little effort, since it runs once.

    It runs on this machine's processor where JAX has it, whatever steps run on: 2 s instead of 12 for the initialisers
    of a convolutional VAE where LLVM does not optimise, and no kernels of a GPU are tried for it. The numbers of a
    seed are then the same on all devices.
    """
    try:
        processor = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names others only
        return jax.jit(f)(*arguments)
    with jax.default_device(processor):
        return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})(*arguments)


class Ahead(NamedTuple):
    call: Any  # does what the step does that was compiled, for arguments of the same shapes
    lowered: jax.stages.Lowered
    program: jax.stages.Compiled
    seconds: float  # that compiling took


def compile_ahead(call: Step | Several, state: TrainState, batch: Mapping[str, Any]) -> Ahead:
    """`call`, compiled for these arguments; nothing is run."""
    assert isinstance(call, _OnData), "a step of compile_step"
    lowered = lower(call, state, batch)
    began = monotonic()
    program = lowered.compile()
    return Ahead(_OnData(program, call.arrays), lowered, program, monotonic() - began)


def _put(state: TrainState, where: Any) -> TrainState:
    # through the host, so that any layout is accepted; a copy, since the step donates what it is given
    return jax.device_put(jax.tree.map(lambda x: np.array(x), state), where)


def _check_rows(batch: Mapping[str, Any], n: int, axis: int = 0) -> None:
    for name, x in batch.items():
        if (rows := np.shape(x)[axis]) % n:
            raise ValueError(f"batch {name!r} has {rows} rows, not a multiple of {n} devices: change the batch size")


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
