"""One training step for every method: a fold over an ordered tuple of players.

A VAE is one player. A GAN is two: the discriminator, then the generator against the *new* discriminator.
The step knows nothing of devices, files, configs or clocks; `compile_step` decides where it runs.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.keys import fold, key_of
from genjax_art.shards import device_mean
from genjax_art.spec import Batch, Key, Params
from genjax_art.train.accumulate import value_and_gradient
from genjax_art.train.finite import FINITE, all_finite
from genjax_art.train.player import Metrics, Player
from genjax_art.train.state import TrainState

Decay = Callable[[Int[Array, ""]], Float[Array, ""]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def batches_per_step(players: Sequence[Player]) -> int:
    """How many batches of fresh data a step wants: its batch must have that many times the rows."""
    return max(player.repeats for player in players)


RESERVED = ("loss", "grad_norm", "update_norm")  # metrics of every player


def make_step(
    players: Sequence[Player], *, ema: Mapping[str, float | Decay] | None = None, micro_batches: int = 1
) -> Step:
    """The pure function `step(state, batch) -> (state, metrics)`.

    Args:
      players: in the order of their updates. A player with `repeats=k` is updated k times, each time on fresh
        rows: repeat r takes rows r, r+m, r+2m ... of the batch, m being the largest `repeats`.
      ema: per player the decay of the moving average of its parameters, a number or a function of the step.
      micro_batches: into how many equal parts the batch of an update is cut, whose mean gradient makes the update
        (see `accumulate.py`); metrics are their means, too.

    Metrics are means over the global batch: `<player>/loss`, `<player>/grad_norm`, `<player>/update_norm` and what
    the losses report, as `<player>/<name>`; of the last repeat where there are several. `finite` is 1 where every
    loss, the norms of every gradient and update, and all extras are finite, else 0.

    Raises:
      ValueError: no players, or two of one name; when called, rows that the repeats or the micro-batches cannot share
        equally, a metric that is no single number or is named as one of ours.
    """
    players = tuple(players)
    names = [player.name for player in players]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"players need distinct names, at least one; got: {', '.join(names) or 'none'}")
    rows = batches_per_step(players)
    ema = dict(ema or {})

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        if odd := {name: len(x) for name, x in batch.items() if len(x) % rows}:
            raise ValueError(
                f"a device's share of the batch has {odd} rows, not a multiple of the {rows} updates that a step makes "
                "of a player: change the batch size"
            )
        key = jax.random.fold_in(key_of(state.seed), state.step)
        metrics: dict[str, Array] = {}
        seen: list[Array] = []
        for player in players:
            for repeat in range(player.repeats):
                stream = jax.random.fold_in(fold(key, player.stream or player.name), repeat)
                part = batch if rows == 1 else {name: x[repeat::rows] for name, x in batch.items()}
                state, own_metrics = _update(player, state, part, stream, micro_batches)
                seen += own_metrics.values()
            metrics |= {f"{player.name}/{name}": value for name, value in own_metrics.items()}
        averages = {
            name: _average(state.ema[name], state.params[name], decay, state.step) for name, decay in ema.items()
        }
        finite = all_finite((seen, state.extras)).astype(jnp.float32)
        return state.replace(step=state.step + 1, ema=averages), {**metrics, FINITE: finite}

    return step


def _update(
    player: Player, state: TrainState, batch: Batch, key: Key, micro_batches: int
) -> tuple[TrainState, Metrics]:
    """One update of one player."""
    name = player.name
    own = state.params[name]
    others = {other: params for other, params in state.params.items() if other != name}
    gradient = value_and_gradient(player.loss, micro_batches)
    (loss, (metrics, extras)), grads = gradient(own, others, state.extras, batch, key)
    for of, value in metrics.items():
        if jnp.shape(value) or of in RESERVED:
            what = f"has the shape {jnp.shape(value)}: metrics are single numbers" if jnp.shape(value) else "is ours"
            raise ValueError(f"metric {of!r} of the player {name!r} {what}")
    loss, metrics, grads = jax.tree.map(device_mean, (loss, dict(metrics), grads))
    # those of our layers are of the global batch already; a layer of somebody's own may see its device's share only
    extras = jax.tree.map(lambda x: device_mean(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x, extras)
    with jax.numpy_dtype_promotion("standard"):  # Optax takes floats to the power of its integer count
        updates, opt_state = player.tx.update(grads, state.opt_state[name], own)
    state = state.replace(
        params={**state.params, name: optax.apply_updates(own, updates)},
        opt_state={**state.opt_state, name: opt_state},
        extras=extras,
    )
    norms = {"grad_norm": optax.tree.norm(grads), "update_norm": optax.tree.norm(updates)}
    return state, {"loss": loss, **norms, **metrics}


def _average(average: Params, params: Params, decay: float | Decay, step: Int[Array, ""]) -> Params:
    """decay * average + (1 - decay) * params, each leaf in the dtype that it had."""
    d = decay(step) if callable(decay) else jnp.asarray(decay, jnp.float32)
    # In float32: in bfloat16 d and 1 - d would each be rounded, no longer sum to 1, and the average would drift.
    with jax.numpy_dtype_promotion("standard"):
        return optax.tree.cast_like(optax.incremental_update(params, average, 1 - d), average)
