"""Latents: trees of arrays, batch first. How they are drawn from a prior, and the ways between them.

A method's latents are any pytree: one array [n, d], one array per level of a hierarchy, codes, or
{"content": ..., "motion": ...}. Everything here works leaf by leaf.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.spec import Key, Keys

Latents = Any  # a pytree of arrays [n, ...]
Between = Callable[[Latents, Latents, Float[np.ndarray, " n"]], Latents]  # a at 0, b at 1


@dataclass(frozen=True)
class Spread:
    """How far samples stray from what is typical.

    `temperature` multiplies the standard deviation of Gaussian latents and divides the logits of codes. `truncation` t
    keeps Gaussian latents within [-t, t] times that (BigGAN, arXiv:1809.11096).

    Raises:
      UsageError: a temperature below 0 or a truncation that is not positive, or a number that is not finite.
    """

    temperature: float = 1.0
    truncation: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"--temperature must be at least 0 and finite, got {self.temperature:g}")
        if self.truncation is not None and not 0 < self.truncation < float("inf"):
            raise UsageError(f"--truncation must be positive and finite, got {self.truncation:g}")

    def normal(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Normal numbers of this spread; standard normal ones by default."""
        if self.truncation is None:
            z = jax.random.normal(key, shape)
        else:
            z = jax.random.truncated_normal(key, -self.truncation, self.truncation, shape)
        return z if self.temperature == 1.0 else self.temperature * z


TYPICAL = Spread()


@partial(jax.jit, static_argnums=1)
def example_keys(key: Key, n: int) -> Keys:
    """n keys, one for each example: what an example draws depends on its place, not on how many there are."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n, dtype=jnp.uint32))


def count(z: Latents) -> int:
    """How many examples the latents are for."""
    return len(jax.tree.leaves(z)[0])


def rows(z: Latents, index: Any) -> Latents:
    """The latents of some examples."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], z)


def joined(parts: list[Latents]) -> Latents:
    """The latents of several batches as one batch."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def slerp(
    a: Float[np.ndarray, "*n d"], b: Float[np.ndarray, "*n d"], t: Float[np.ndarray, "*n 1"]
) -> Float[np.ndarray, "*n d"]:
    """Spherical interpolation, a at t = 0 and b at t = 1.

    Gaussian latents lie near a sphere of radius sqrt(d); a straight line would cross its empty inside.
    White, "Sampling Generative Networks", 2016, arXiv:1609.04468 (after Shoemake 1985): the angle is taken
    between the directions, the lengths need not be equal.  Where the great circle is undefined or degenerate
    (parallel, opposite or zero latents), it is the straight line.
    """
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = np.sum(a * b, -1, keepdims=True) / np.maximum(lengths, 1e-12)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    flat = (np.sin(angle) < 1e-4) | (lengths < 1e-12)
    sine = np.where(flat, 1.0, np.sin(angle))
    weight_a = np.where(flat, 1.0 - t, np.sin((1.0 - t) * angle) / sine)
    weight_b = np.where(flat, t, np.sin(t * angle) / sine)
    return (weight_a * a + weight_b * b).astype(a.dtype)


def great_circles(a: Latents, b: Latents, t: Float[np.ndarray, " n"]) -> Latents:
    """`slerp` of each leaf, an example's numbers in it as one vector; of whole numbers (codes) the nearer end's.

    The way between latents with a standard normal prior, and the default for all methods.
    """

    def of_leaf(x: Any, y: Any) -> np.ndarray:
        x, y = np.asarray(x), np.asarray(y)
        share = np.asarray(t).reshape(-1, 1)
        flat_x, flat_y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        if not np.issubdtype(x.dtype, np.floating):
            return np.where(share < 0.5, flat_x, flat_y).reshape(x.shape)
        return slerp(flat_x, flat_y, share).reshape(x.shape)

    return jax.tree.map(of_leaf, a, b)


def closed_walk(anchors: Latents, frames: int, between: Between = great_circles) -> Latents:
    """`frames` latents on the closed path anchor 0 -> 1 -> ... -> k - 1 -> 0, equal steps of the path's time.

    Frame 0 is anchor 0; the step from the last frame to frame 0 is as long as the others, so the film loops
    without a seam and without a doubled frame.
    """
    k = count(anchors)
    if frames < 1 or k < 2:
        raise ValueError(f"a walk needs 2 anchors and 1 frame, got {k} and {frames}")
    time = np.arange(frames, dtype=np.float64) * k / frames
    leg = np.minimum(time.astype(np.int64), k - 1)
    return between(rows(anchors, leg), rows(anchors, (leg + 1) % k), time - leg)
