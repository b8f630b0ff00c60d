"""Seeds as an axis: k independent runs of one experiment in one compiled step. Nobody else knows of it.

A state of k > 1 members has a leading axis of length k on every leaf but `step`. Member i sees the noise and the data
of `first + i`, so it is the run that `--seed {first + i}` alone would be, up to rounding.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from genjax_art.errors import RunError
from genjax_art.spec import Batch
from genjax_art.train.compile import How, default_how, run_once
from genjax_art.train.finite import FINITE, SKIPPED
from genjax_art.train.state import TrainState
from genjax_art.train.step import Metrics, Step

Stream = Generator[dict[str, np.ndarray], None, None]
AXES: Any = TrainState(step=None, seed=0, params=0, opt_state=0, extras=0, ema=0)


@dataclass(frozen=True)
class Seeds:
    """The seeds `first`, `first + 1`, ... of one run; with `count` 1 everything is as without this file."""

    first: int
    count: int = 1

    def how(self, asked: How | None) -> How:
        """Where the step runs: as asked, by default by the number of devices; several members on one device.

        Raises:
          RunError: several members on several devices.
        """
        if self.count == 1:
            return asked or default_how()
        if asked not in (None, "jit"):
            raise RunError(f"several seeds train on one device: leave --parallel {asked} out, or --seeds")
        return "jit"

    def create(self, init: Callable[[Array], TrainState]) -> TrainState:
        """The first state: what `init` makes of each seed."""
        if self.count == 1:
            found: TrainState = run_once(init, np.int32(self.first))
        else:
            seeds = np.arange(self.first, self.first + self.count, dtype=np.int32)
            found = run_once(jax.vmap(init, out_axes=AXES), seeds)
        return found

    def lift(self, step: Step) -> Step:
        """`step` for all members at once.

        Metrics are means over the members; `<name>_sd` is their standard deviation (with divisor k - 1). Of members
        that drop a step (see `finite.py`) only their number counts.
        """
        if self.count == 1:
            return step
        mapped = jax.vmap(step, in_axes=(AXES, 0), out_axes=(AXES, 0))

        def many(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            state, found = mapped(state, batch)
            metrics = dict(found)
            whole = {FINITE: jnp.min(metrics.pop(FINITE))}
            mean: Any = jnp.mean
            sd: Any = jnp.std
            if SKIPPED in metrics:
                whole[SKIPPED], mean, sd = jnp.sum(metrics.pop(SKIPPED)), jnp.nanmean, jnp.nanstd
            means = {name: mean(value) for name, value in metrics.items()}
            return state, means | {f"{name}_sd": sd(value, ddof=1) for name, value in metrics.items()} | whole

        return many

    def stream(self, of_seed: Callable[[int], Stream]) -> Stream:
        """The batches of all members: each member's rows in the order of its own seed."""
        if self.count == 1:
            return of_seed(self.first)
        return _stacked([of_seed(self.first + i) for i in range(self.count)])

    def member(self, state: TrainState, i: int = 0) -> TrainState:
        """The i-th member, as a plain state."""
        if self.count == 1:
            return state
        return jax.tree.map(lambda leaf: leaf[i], state.replace(step=None)).replace(step=state.step)

    def members(self, state: TrainState) -> list[TrainState]:
        return [self.member(state, i) for i in range(self.count)]

    def shapes(self, one: TrainState) -> TrainState:
        """Shapes of the state of all members, from those of one."""
        if self.count == 1:
            return one

        def stacked(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((self.count, *leaf.shape), leaf.dtype)

        return jax.tree.map(stacked, one.replace(step=None)).replace(step=one.step)


def _stacked(streams: list[Stream]) -> Stream:
    try:
        for batches in zip(*streams, strict=True):
            yield {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    finally:
        for stream in streams:
            stream.close()
