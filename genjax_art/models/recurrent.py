"""A gated recurrent unit that is quick to scan: what depends on the input alone is one matrix product before it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.models.layers import Dense, everywhere, in_float32

UNROLL = 2  # steps of time per turn of the loop; more is no faster on CPU and slower to compile


class GRU(nn.Module):
    """The recurrence of `flax.linen.GRUCell` (Cho et al. 2014, arXiv:1406.1078; the reset gate after the product).

    Its three input kernels are the columns of `input`, its three recurrent ones those of `recurrent`.
    """

    features: int

    def setup(self) -> None:
        self.input = Dense(3 * self.features)
        orthogonal = nn.initializers.orthogonal(column_axis=-1)

        def three(key: Array, shape: tuple[int, ...]) -> Array:
            return jnp.concatenate([orthogonal(k, (shape[0], shape[0])) for k in jax.random.split(key, 3)], 1)

        self.recurrent = self.param("recurrent", three, (self.features, 3 * self.features))
        self.bias = self.param("bias", nn.initializers.zeros, (self.features,))

    def step(self, state: Float[Array, "b h"], x: Float[Array, "b c"]) -> Float[Array, "b h"]:
        """The state after one input. A loop over it sums gradients in the weights' own dtype, other than `__call__`."""
        return gru_step(state, self.input(x), self.recurrent, self.bias)

    def __call__(
        self, x: Float[Array, "b t c"], start: Float[Array, "b h"], reverse: bool = False
    ) -> Float[Array, "b t h"]:
        """The states after each step, from the state `start`; from the last step on if `reverse`."""
        recurrent, bias = (in_float32(w) for w in (self.recurrent, self.bias))  # their gradients are sums over steps

        def body(state: Array, projected: Array) -> tuple[Array, Array]:
            state = gru_step(state, projected, recurrent.astype(state.dtype), bias)
            return state, state

        projected = jnp.swapaxes(self.input(x), 0, 1)
        _, states = jax.lax.scan(body, start, projected, reverse=reverse, unroll=UNROLL)
        return jnp.swapaxes(states, 0, 1)


def gru_step(
    state: Float[Array, "b h"],
    projected: Float[Array, "b g"],
    recurrent: Float[Array, "h g"],
    bias: Float[Array, " h"],
) -> Float[Array, "b h"]:
    """(1 - z) n + z h with r, z = sigmoid(x + h R), n = tanh(x + r (h R + b)); `projected` holds the three x."""
    n = state.shape[-1]
    gates = state @ recurrent
    reset, update = jnp.split(jax.nn.sigmoid(projected[:, : 2 * n] + gates[:, : 2 * n]), 2, -1)
    last = gates[:, 2 * n :]
    new = jnp.tanh(projected[:, 2 * n :] + reset * (last + everywhere(bias, last)))
    return (1.0 - update) * new + update * state
