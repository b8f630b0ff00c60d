"""Seeds as an axis: k independent runs of one experiment in one compiled step.

A state of k members has a leading axis of length k on every leaf but `step`. Member i sees the noise and the data of
`seed + i`, so it is the run that `--seed {seed + i}` alone would be, up to rounding.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.spec import Batch
from genjax_art.train.state import TrainState
from genjax_art.train.step import Metrics, Step

AXES: Any = TrainState(step=None, seed=0, params=0, opt_state=0, extras=0, ema=0)


def vmap_step(step: Step) -> Step:
    """`step` for all members of a stacked state on a stacked batch.

    Metrics are means over the members; `<name>_sd` is their standard deviation (with divisor k - 1).
    """
    mapped = jax.vmap(step, in_axes=(AXES, 0), out_axes=(AXES, 0))

    def many(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = mapped(state, batch)
        means = {name: jnp.mean(value) for name, value in metrics.items()}
        return state, means | {f"{name}_sd": jnp.std(value, ddof=1) for name, value in metrics.items()}

    return many


def stack_states(states: Sequence[TrainState]) -> TrainState:
    """One state of as many members, which are all at the same step."""
    first = states[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states).replace(step=first.step)


def member(state: TrainState, i: int) -> TrainState:
    """The i-th member of a stacked state, as a plain state."""
    step = state.step
    return jax.tree.map(lambda leaf: leaf[i], state.replace(step=None)).replace(step=step)


def stack_batches(
    streams: Sequence[Generator[Mapping[str, np.ndarray], None, None]],
) -> Generator[dict[str, np.ndarray], None, None]:
    """The next batches of all streams, stacked: each member's rows in the order of its own seed."""
    try:
        for batches in zip(*streams, strict=True):
            yield {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    finally:
        for stream in streams:
            stream.close()


def shapes_of(shapes: TrainState, k: int) -> TrainState:
    """Shapes of a state of k members, from those of one; a single one has no leading axis."""
    if k == 1:
        return shapes

    def stacked(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((k, *leaf.shape), leaf.dtype)

    return jax.tree.map(stacked, shapes.replace(step=None)).replace(step=shapes.step)
