"""Numbers that are not finite: found inside the step, dropped with their step, or undone by a rollback."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from genjax_art.errors import RunError
from genjax_art.spec import Batch
from genjax_art.train.player import Metrics
from genjax_art.train.state import TrainState

FINITE, SKIPPED = "finite", "skipped"  # metrics of a step: whether all was finite; updates that were dropped
ROLLBACKS = 3  # at most, in a run


class NotFinite(RunError):
    """A number of a run is not finite; the run stops, or goes on from an earlier state."""


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number of every leaf is finite; whole numbers always are."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.bool_(True)


def skipping(step: Any) -> Any:
    """`step`, but where a number of it is not finite, all of its update is dropped and only the count goes on.

    The metric `skipped` is then 1, else 0; the others of such a step are NaN.
    """

    def guarded(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        new, metrics = step(state, batch)
        good = metrics[FINITE] > 0
        # without the count, which all members share
        pair = new.replace(step=None), state.replace(step=None)
        kept = jax.tree.map(lambda a, b: jnp.where(good, a, b), *pair).replace(step=new.step)
        shown = {name: jnp.where(good, value, jnp.nan) for name, value in metrics.items() if name != FINITE}
        return kept, shown | {SKIPPED: 1.0 - metrics[FINITE], FINITE: jnp.ones_like(metrics[FINITE])}

    return guarded


def check_state(state: TrainState) -> None:
    """Refuses a state with a number that is not finite: a checkpoint of it would be of no use.

    Raises:
      NotFinite: there is one; the message names it.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf, np.float32)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NotFinite(not_finite(f"{name} is not finite", int(state.step)))


def not_finite(what: str, step: int) -> str:
    return (
        f"{what} at step {step}; the last checkpoint before it is kept: go on from it by --resume --changed "
        "optimizers with a lower learning rate or gradient clipping, or by --resume --on-nan skip or rollback"
    )


def seed_of(seed: int, rollbacks: int) -> int:
    """The seed of a run's noise after so many rollbacks; without one the run's own.

    It is part of the state, so that a resumed run draws the same noise; it tells the number of rollbacks, too.
    """
    if rollbacks == 0:
        return seed
    return int(np.random.SeedSequence([seed, rollbacks]).generate_state(1)[0] >> 1)


def rollbacks_of(seed: int, noise_seed: int) -> int:
    """How many rollbacks lie behind a state whose noise has the seed `noise_seed`, in a run of `seed`."""
    return next((n for n in range(1, ROLLBACKS + 1) if seed_of(seed, n) == noise_seed), 0)


def with_rollbacks(state: TrainState, first_seed: int, rollbacks: int) -> TrainState:
    """`state` with the noise that follows so many rollbacks; each of several members has its own."""
    seeds = [seed_of(first_seed + i, rollbacks) for i in range(np.size(state.seed))]
    return state.replace(seed=np.asarray(seeds, np.int32).reshape(np.shape(state.seed)))
