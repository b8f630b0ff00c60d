"""Sliced Wasserstein distance of patches of a Laplacian pyramid: tone, layout and edges, without a trained network."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.metrics.subject import Subject
from genjax_art.spec import Key

SIDE = 7  # of a patch, in pixels of its level
FRAMES = 4  # of a patch of clips
PATCHES = 16  # of an example and level
DIRECTIONS = 128
BLOCK = 128  # examples at a time


def patch_wasserstein(
    x: Float[np.ndarray, "n *space h w c"], y: Float[np.ndarray, "m *space h w c"], key: Key
) -> list[float]:
    """Of each level of a Laplacian pyramid, the finest first, the mean over random unit directions of the 1-Wasserstein
    distance between the projected patches of `x` and of `y`, in standard deviations of `y` at that level and channel.

    Karras et al. 2018, section 5 (arXiv:1710.10196): 7x7 patches of images, whose levels end at 16 pixels and
    whose sets are each normalised by their own statistics; here levels end with the last of at least 7 pixels, where a
    patch is about the whole (of smaller pictures it is), and `y`, the data, normalises both, so that contrast counts.
    A patch of clips has four frames, too. Patches are at the same places in both sets: those of equal sets are equal.

    Raises:
      ValueError: not as many examples in both sets.
    """
    if x.shape != y.shape:
        raise ValueError(f"x of shape {x.shape} and y of shape {y.shape} must have as many examples of one shape")
    distances = []
    for level, (made, real) in enumerate(zip(patches(x, key), patches(y, key), strict=True)):
        channels = real.reshape(-1, y.shape[-1])
        mean, deviation = channels.mean(0), np.maximum(channels.std(0), 1e-6)
        directions = _directions(jax.random.fold_in(key, level), real.shape[1] * real.shape[2])
        a, b = (((p - mean) / deviation).reshape(len(p), -1) @ directions for p in (made, real))
        distances.append(float(np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean()))
    return distances


def patches(x: Float[np.ndarray, "n *space h w c"], key: Key) -> list[Float[np.ndarray, "m pixels c"]]:
    """Patches of all examples at random places, a list of one array for each level of the pyramid, the finest first."""
    places = np.asarray(jax.random.uniform(key, (len(x), PATCHES, x.ndim - 2)))
    some = jax.jit(_patches)
    blocks = [some(x[i : i + BLOCK], places[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]
    return [np.concatenate([np.asarray(block[level]) for block in blocks]) for level in range(len(blocks[0]))]


def pyramid(x: Float[Array, "b *space h w c"]) -> list[Float[Array, "b *space2 c"]]:
    """Of each level what the next coarser one does not show, the finest first; the last is that one itself.

    Each has half the height and width of the one before, as long as 7 pixels are left. Burt & Adelson 1983.
    """
    levels = []
    while min(x.shape[-3:-1]) >= 2 * SIDE:
        half = (*x.shape[:-3], *((n + 1) // 2 for n in x.shape[-3:-1]), x.shape[-1])
        coarser = jax.image.resize(x, half, "linear")
        levels.append(x - jax.image.resize(coarser, x.shape, "linear"))
        x = coarser
    return [*levels, x]


def _patches(x: Float[Array, "b *space h w c"], places: Float[Array, "b k axes"]) -> list[Float[Array, "m pixels c"]]:
    x, found = x.astype(jnp.float32), []
    for level in pyramid(x):
        space = level.shape[1:-1]
        extents = tuple(min(FRAMES if axis < len(space) - 2 else SIDE, n) for axis, n in enumerate(space))
        free = jnp.asarray([n - extent + 1 for n, extent in zip(space, extents, strict=True)], jnp.float32)
        starts = jnp.floor(places * free[None, None, :]).astype(jnp.int32)

        def window(
            one: Float[Array, "*space c"], start: Any, extents: tuple[int, ...] = extents
        ) -> Float[Array, "*extents c"]:
            return jax.lax.dynamic_slice(one, (*start, 0), (*extents, one.shape[-1]))

        cut = jax.vmap(jax.vmap(window, (None, 0)))(level, starts)
        found.append(cut.reshape(len(x) * PATCHES, -1, x.shape[-1]))
    return found


def _directions(key: Key, size: int) -> Float[np.ndarray, "size directions"]:
    v = np.asarray(jax.random.normal(key, (size, DIRECTIONS)))
    return v / np.linalg.norm(v, axis=0, keepdims=True)


def measure(subject: Subject, *, seed: int = 0) -> dict[str, Any]:
    """The mean over the levels of samples to held-out data, each level, and beside it that of training examples.

    Args:
      seed: of places and directions.

    Raises:
      UsageError: arrays without height and width.
    """
    if len(subject.spec.space) < 2:
        raise UsageError(f"patches are cut of arrays with height and width, not of arrays of kind {subject.spec.kind}")
    n = min(len(subject.made), len(subject.held), len(subject.known))
    held, known = (subject.some(data, n) for data in (subject.held, subject.known))
    key = jax.random.key(seed)
    levels = patch_wasserstein(subject.made[:n], held, key)
    return {
        "patch_wasserstein": float(np.mean(levels)),
        "patch_wasserstein_training": float(np.mean(patch_wasserstein(known, held, key))),
        "patch_wasserstein_levels": levels,
        "compared": n,
    }
