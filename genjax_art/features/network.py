"""The network of own features, and its training: small, with a fixed recipe, the same for every medium with space."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.models.layers import BatchNorm, Conv, pyramid
from genjax_art.spec import ArraySpec, Key

WIDTHS = (32, 32, 64, 64)  # of the stem and of each halving; the last one for all further
LARGE = 40  # extents above it are halved by the stem already
BLUR, NOISE = 0.25, 0.2  # the most of `worn`


class Trunk(nn.Module):
    """Residual blocks, one for each halving down to extents of at most 4; features are the means over space of the
    last two blocks: the last one alone would keep little besides the classes."""

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], train: bool) -> Float[Array, "b d"]:
        first = tuple(2 if n > LARGE else 1 for n in x.shape[1:-1])
        h = Conv(WIDTHS[0], 3, first, bias=False)(x)
        found = [_mean(nn.relu(BatchNorm()(h, train)))]
        for level, stride in enumerate(pyramid(h.shape[1:-1], above=4), 1):
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            y = Conv(width, 3, stride, bias=False)(nn.relu(BatchNorm()(h, train)))
            y = Conv(width, 3, bias=False)(nn.relu(BatchNorm()(y, train)))
            h = y + Conv(width, 1, stride, bias=False)(h)
            found.append(_mean(nn.relu(BatchNorm()(h, train))))
        return jnp.concatenate(found[-2:], -1)


def _mean(h: Float[Array, "b *space c"]) -> Float[Array, "b c"]:
    return jnp.mean(h, range(1, h.ndim - 1))


class Headed(nn.Module):
    """The trunk, and a head of dense layers of these widths on its features."""

    head: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"], train: bool) -> tuple[Float[Array, "b d"], Float[Array, "b o"]]:
        found = Trunk(name="trunk")(x, train)
        h = found
        for i, width in enumerate(self.head):
            h = nn.Dense(width)(nn.relu(h) if i else h)
        return found, h


Loss = Callable[[Float[Array, "b o"], Mapping[str, Array]], Float[Array, ""]]  # of the head's outputs and the batch
Batches = Callable[[int], Mapping[str, np.ndarray]]  # step -> batch, "x" in [-1, 1] among it
View = Callable[[Mapping[str, Array], Key], Mapping[str, Array]]  # a batch as it is shown in one step


def train(
    network: nn.Module, batches: Batches, view: View, loss: Loss, *, name: str, steps: int, rate: float
) -> dict[str, Any]:
    """The variables after `steps` steps of Adam, its learning rate falling to 0 by half a cosine; always the same ones
    for the same batches. The network gives features and outputs, as `Headed` does."""
    print(f"training {name}, once for these data: some minutes on two cores", file=sys.stderr, flush=True)
    optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=1e-4)
    key = jax.random.key(0)
    first = jnp.asarray(batches(0)["x"][:1])
    variables = jax.jit(network.init, static_argnums=2)(jax.random.fold_in(key, steps), first, False)

    def objective(params: Any, statistics: Any, shown: Mapping[str, Array]) -> Any:
        (_, out), after = network.apply(
            {"params": params, "batch_stats": statistics}, shown["x"], True, mutable=["batch_stats"]
        )
        return loss(out, shown), after["batch_stats"]

    @jax.jit
    def step(carry: Any, batch: Mapping[str, Array], key: Key) -> Any:
        params, statistics, memory = carry
        gradient, statistics = jax.grad(objective, has_aux=True)(params, statistics, view(batch, key))
        with jax.numpy_dtype_promotion("standard"):  # Optax takes floats to the power of its integer count
            updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), statistics, memory

    carry = (variables["params"], variables["batch_stats"], optimizer.init(variables["params"]))
    for n in range(steps):
        carry = step(carry, batches(n), jax.random.fold_in(key, n))
    return {"params": carry[0], "batch_stats": carry[1]}


def flat(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variables by path, as arrays to be kept."""
    return {name: np.asarray(array) for name, array in flatten_dict(dict(variables), sep="/").items()}


def deep(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `flat`."""
    found: dict[str, Any] = unflatten_dict({name: jnp.asarray(array) for name, array in arrays.items()}, sep="/")
    return found


def unit_range(x: Float[Array, "b *shape"], spec: ArraySpec) -> Float[Array, "b *shape"]:
    """The spec's range as [-1, 1]."""
    return (x - spec.low) * (2.0 / (spec.high - spec.low)) - 1.0


def as_it_is(spec: ArraySpec) -> str:
    """The rule of an extractor that sees examples by `unit_range`, in words."""
    return f"{'x'.join(map(str, spec.shape))}, not resized, as -1 to 1"


def check_space(spec: ArraySpec, name: str) -> None:
    """Raises UsageError for points, which have no space to convolve over."""
    if not spec.space:
        raise UsageError(f"feature extractor {name} needs arrays with space, not points: take --features pixels-pca64")


def shifts(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Each example moved by up to 1/8 of every extent, its edge continued."""
    space = x.shape[1:-1]
    reach = [max(1, n // 8) for n in space]
    padded = jnp.pad(x, [(0, 0), *((r, r) for r in reach), (0, 0)], "edge")
    most = jnp.asarray([2 * r + 1 for r in reach])
    starts = jax.random.randint(key, (len(x), len(space)), 0, most[None])

    def window(example: Array, start: Array) -> Array:
        return jax.lax.dynamic_slice(example, (*start, jnp.zeros_like(start[0])), x.shape[1:])

    return jax.vmap(window)(padded, starts)


def worn(x: Float[Array, "b *space c"], key: Key) -> Float[Array, "b *space c"]:
    """Each example, in [-1, 1], blurred by neighbours of a weight from 0 to 1/4 along every extent, and with noise of a
    deviation from 0 to 1/5: what samples have that are not quite sharp, and no class depends on."""
    soft, loud, noise = jax.random.split(key, 3)
    one = (len(x), *(1,) * (x.ndim - 1))
    weight = jax.random.uniform(soft, one, maxval=BLUR)
    blurred = x
    for axis in range(1, x.ndim - 1):
        padded = jnp.pad(blurred, [(int(i == axis),) * 2 for i in range(x.ndim)], "edge")
        before, after = (jax.lax.slice_in_dim(padded, at, at + x.shape[axis], axis=axis) for at in (0, 2))
        blurred = (1 - 2 * weight) * blurred + weight * (before + after)
    return blurred + jax.random.uniform(loud, one, maxval=NOISE) * jax.random.normal(noise, x.shape)
