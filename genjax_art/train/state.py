"""Everything that a run changes, as one tree: what a step takes, returns, and a checkpoint holds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from genjax_art.spec import Key, Params
from genjax_art.train.player import Player


class TrainState(flax.struct.PyTreeNode):
    """`params`, `opt_state`, `extras` and `ema` are keyed by player.

    `extras` holds what a loss carries on without differentiating it (batch statistics, running means). `seed`
    never changes: every random number of a run comes from (seed, step, player, purpose).
    """

    # Any: besides arrays, these trees hold NumPy arrays, shapes, shardings or axes, and may be prefixes (0 for a tree)
    step: Any  # Int[Array, ""]
    seed: Any  # Int[Array, ""]
    params: Any  # Mapping[str, Params]
    opt_state: Any  # Mapping[str, Any]
    extras: Any  # Mapping[str, Any]
    ema: Any  # Mapping[str, Params]


def create_state(
    players: Iterable[Player],
    params: Mapping[str, Params],
    extras: Mapping[str, Any] | None = None,
    *,
    seed: int | Int[Array, ""] = 0,
    ema: Iterable[str] = (),
) -> TrainState:
    """The state before the first step. `ema` names the players whose parameters get a moving average.

    Raises:
      ValueError: a player has no parameters under its name.
    """
    players = tuple(players)
    if missing := [p.name for p in players if p.name not in params]:
        raise ValueError(f"no parameters for player {missing[0]!r}; params has: {', '.join(sorted(params))}")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.asarray(seed, jnp.int32),
        params=dict(params),
        opt_state={p.name: p.tx.init(params[p.name]) for p in players},
        extras={p.name: {} for p in players} | dict(extras or {}),
        # a copy: the step donates its state, and a buffer can be donated only once
        ema={name: jax.tree.map(jnp.copy, params[name]) for name in ema},
    )


def state_shapes(
    players: Iterable[Player], init: Callable[[Key], tuple[Any, Any]], ema: Iterable[str] = ()
) -> TrainState:
    """Shapes and dtypes of the first state, for restoring one without computing anything."""

    def create() -> TrainState:
        params, extras = init(jax.random.key(0))
        return create_state(players, params, extras, ema=ema)

    return jax.eval_shape(create)
