"""Sliced Wasserstein distance between two sets of arrays: cheap, for any medium, without a trained network."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.keys import key_of
from genjax_art.metrics.subject import Subject
from genjax_art.spec import Key


def sliced_wasserstein(
    x: Float[Array, "n *shape"], y: Float[Array, "n *shape"], key: Key, directions: int = 256
) -> Float[Array, ""]:
    """Mean over random unit directions of the 1-Wasserstein distance of the projected sets, in units of x.

    Both sets need the same number n of examples. Projections are multiplied by sqrt(size), so that the figure does
    not shrink with the number of pixels. Rabin et al. 2011; Bonneel et al. 2015. On raw pixels it
    sees tone, contrast and coarse layout, not fine detail: it ranks checkpoints of one run and is no FID.
    """
    n = x.shape[0]
    a, b = x.reshape(n, -1).astype(jnp.float32), y.reshape(n, -1).astype(jnp.float32)
    v = jax.random.normal(key, (a.shape[1], directions))
    v = v / jnp.linalg.norm(v, axis=0, keepdims=True)
    along = [jnp.sort(jnp.matmul(rows, v, precision="highest"), axis=0) for rows in (a, b)]
    distance = jnp.abs(along[0] - along[1])
    return jnp.mean(distance) * jnp.sqrt(jnp.float32(a.shape[1]))


def measure(subject: Subject, *, seed: int = 0) -> dict[str, Any]:
    """The distance of samples to held-out data, and beside it that of as many training examples.

    Args:
      seed: of the directions.
    """
    n = min(len(subject.made), len(subject.held), len(subject.known))
    held, known = (subject.some(data, n) for data in (subject.held, subject.known))
    key, distance = key_of(seed), jax.jit(sliced_wasserstein)
    return {
        "sliced_wasserstein": float(distance(subject.made[:n], held, key)),
        "sliced_wasserstein_training": float(distance(known, held, key)),
        "compared": n,
    }
