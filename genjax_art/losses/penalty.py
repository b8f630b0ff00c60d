"""Penalties on a discriminator: on its slope, its logits and its weights.  No weights of the sum in here.

A critic maps a batch to one logit per example and treats examples independently (no batch statistics; label
and parameters closed over): the slopes of all examples then come from one pull-back of the batch's sum.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.losses.precision import at_least_float32
from genjax_art.shards import global_draw, global_mean, global_normal
from genjax_art.spec import Key, Params

Critic = Callable[[Float[Array, "b *shape"]], Float[Array, "b"]]
Penalty = Callable[
    [Critic, Float[Array, "b *shape"], Float[Array, "b *shape"], Key], Float[Array, "b"]
]  # critic, real, fake, key


def value_and_squared_gradient_norm(
    critic: Critic, x: Float[Array, "b *shape"]
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """D(x) and ||grad_x D(x)||^2, per example, from one forward pass and one pull-back.

    Mescheder et al. 2018, equation 9 (arXiv:1801.04406), whose R1 is gamma/2 times the mean over reals, R2
    the same over fakes: the factor gamma/2 is the caller's.  With reals and fakes stacked in one batch both
    come from a single pull-back.
    """
    logits, pull_back = jax.vjp(critic, x)
    (slope,) = pull_back(jnp.ones_like(logits))
    return logits, _squared_norm(slope)


def squared_gradient_norm(critic: Critic, x: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    """||grad_x D(x)||^2: R1 on reals, R2 on fakes, without the factor gamma/2.  Source as above."""
    return value_and_squared_gradient_norm(critic, x)[1]


def slope_deviation(critic: Critic, x: Float[Array, "b *shape"], target: float = 1.0) -> Float[Array, "b"]:
    """(||grad_x D(x)|| - target)^2, with gradient zero (not NaN) at a critic without slope.

    Gulrajani et al. 2017, equation 3 (arXiv:1704.00028).
    """
    square = squared_gradient_norm(critic, x)
    sloping = square > 0
    # The square root's slope at 0 is infinite, and infinity times the 0 of the unused branch is NaN.
    norm = jnp.where(sloping, jnp.sqrt(jnp.where(sloping, square, 1.0)), 0.0)
    return (norm - target) ** 2


def gradient_penalty(
    critic: Critic,
    real: Float[Array, "b *shape"],
    fake: Float[Array, "b *shape"],
    mix: Float[Array, "b"],
    target: float = 1.0,
) -> Float[Array, "b"]:
    """(||grad D|| - target)^2 on the points mix * real + (1 - mix) * fake; `mix` uniform in [0, 1).

    WGAN-GP: Gulrajani et al. 2017, equation 3, where its weight is 10 (arXiv:1704.00028).
    """
    share = mix.astype(real.dtype).reshape(-1, *(1 for _ in real.shape[1:]))
    return slope_deviation(critic, share * real + (1.0 - share) * fake, target)


def dragan(
    critic: Critic, real: Float[Array, "b *shape"], noise: Float[Array, "b *shape"], target: float = 1.0
) -> Float[Array, "b"]:
    """(||grad D|| - target)^2 on the points real + noise around the data.

    Kodali et al. 2017, the DRAGAN objective: noise N(0, c I), target 1, weight 10 (arXiv:1705.07215).
    """
    return slope_deviation(critic, real + noise, target)


def lecam(
    real: Float[Array, "b"],
    fake: Float[Array, "b"],
    average_real: Float[Array, ""],
    average_fake: Float[Array, ""],
) -> Float[Array, "b"]:
    """(D(x) - a_F)^2 + (D(G(z)) - a_R)^2 with the moving averages a_R of D(x) and a_F of D(G(z)).

    R_LC of Tseng et al. 2021, with weight 0.3 on CIFAR (arXiv:2104.03310).  This is the printed
    formula; the authors' code counts a term only where D(x) > a_F or D(G(z)) < a_R, which is the usual case.
    """
    real, fake = at_least_float32(real), at_least_float32(fake)
    return (real - average_fake) ** 2 + (fake - average_real) ** 2


def moving_average(average: Float[Array, ""], logits: Float[Array, "b"], decay: float = 0.99) -> Float[Array, ""]:
    """The next moving average of the global batch's mean logit, through which no gradient flows.

    Tseng et al. 2021, with decay 0.99 (arXiv:2104.03310).
    """
    mean = jax.lax.stop_gradient(global_mean(at_least_float32(logits)))
    return decay * average + (1.0 - decay) * mean


def consistency(one: Float[Array, "b *shape"], other: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    """||one - other||^2: how far a network's outputs for two versions of its input are apart.

    On D(x) and D(T(x)) it is CR (Zhang et al. 2020, arXiv:1910.12027); on both reals and fakes
    bCR; on D(G(z)) and D(G(z + dz)) the discriminator's half of zCR, and minus it on G(z) and G(z + dz) the
    generator's (Zhao et al. 2020, arXiv:2002.04724).
    """
    return _squared_norm(at_least_float32(one) - at_least_float32(other))


def orthogonal(params: Params) -> Float[Array, ""]:
    """sum over kernels W of ||W^T W (1 - I)||_F^2: the overlap of different filters, whatever their norms.

    W has one column per output channel (Flax's last axis).  Brock et al. 2019 (arXiv:1809.11096).
    Leaves that are not called `kernel` (biases, scales, embeddings) do not count.
    """
    total = jnp.zeros(())
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if getattr(path[-1], "key", None) == "kernel":
            w = at_least_float32(leaf).reshape(-1, leaf.shape[-1])
            overlap = jnp.matmul(w.T, w, precision="highest") * (1.0 - jnp.eye(w.shape[-1], dtype=w.dtype))
            total = total + jnp.sum(overlap**2)
    return total


def _r1(critic: Critic, real: Float[Array, "b *shape"], fake: Float[Array, "b *shape"], key: Key) -> Float[Array, "b"]:
    del fake, key
    return squared_gradient_norm(critic, real)


def _r2(critic: Critic, real: Float[Array, "b *shape"], fake: Float[Array, "b *shape"], key: Key) -> Float[Array, "b"]:
    del real, key
    return squared_gradient_norm(critic, fake)


def _wgan_gp(
    critic: Critic, real: Float[Array, "b *shape"], fake: Float[Array, "b *shape"], key: Key
) -> Float[Array, "b"]:
    return gradient_penalty(critic, real, fake, global_draw(jax.random.uniform, key, real.shape[:1]))


def _dragan(
    critic: Critic, real: Float[Array, "b *shape"], fake: Float[Array, "b *shape"], key: Key
) -> Float[Array, "b"]:
    """Noise of half the standard deviation of the reals, the authors' scale, which fits any value range."""
    del fake
    wide = at_least_float32(real)
    deviation = jnp.sqrt(global_mean((wide - global_mean(wide)) ** 2))
    noise = 0.5 * deviation * global_normal(key, real.shape)
    return dragan(critic, real, noise.astype(real.dtype))


PENALTIES: Mapping[str, Penalty] = {"r1": _r1, "r2": _r2, "wgan_gp": _wgan_gp, "dragan": _dragan}


def _squared_norm(x: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    return jnp.sum(at_least_float32(x) ** 2, axis=tuple(range(1, x.ndim)))
