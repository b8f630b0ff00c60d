"""The 64 main directions of the numbers themselves: a floor. What a trained extractor sees worse than this is no good.

Pictures see tone and layout here, and no stroke; of points it is the points themselves, turned.
"""

from collections.abc import Callable, Mapping
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from genjax_art.data.batches import to_range
from genjax_art.data.contract import Source, pieces
from genjax_art.features.extractor import Extractor
from genjax_art.features.kept import kept
from genjax_art.metrics.stream import evenly

VERSION = 1
DIRECTIONS = 64
LARGEST = 3072  # numbers of an example; larger ones are reduced to so many at most, since directions are costly
MOST, PIECE = 20_000, 1000  # training examples that the directions are found from


def build(known: Source, held: Source) -> Extractor:
    """Features that are linear in the numbers: coordinates along the training data's main directions, in their unit."""
    shape = reduced(known.spec.shape)

    def resized(x: Float[Array, "b *shape"]) -> Float[Array, "b d"]:
        if shape != known.spec.shape:
            x = jax.image.resize(x, (len(x), *shape), "linear", antialias=True)
        return x.reshape(len(x), -1)

    def make() -> Mapping[str, np.ndarray]:
        return main_directions(known, jax.jit(resized))

    weights = kept("pixels-pca64", [VERSION], known, make)
    mean, directions = (jnp.asarray(weights[name]) for name in ("mean", "directions"))

    def apply(x: Float[Array, "b *shape"]) -> Mapping[str, Float[Array, "b _"]]:
        return {"features": jnp.matmul(resized(x) - mean[None], directions, precision="highest")}

    words = "not resized" if shape == known.spec.shape else "linear with antialiasing"
    rule = f"{'x'.join(map(str, shape))}, {words}, as {known.spec.low:g} to {known.spec.high:g}"
    return Extractor("pixels-pca64", VERSION, rule, apply, weights)


def reduced(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its largest extents halved until it has few enough numbers."""
    space = list(shape[:-1])
    while space and prod(space) * shape[-1] > LARGEST and max(space) > 1:
        largest = space.index(max(space))
        space[largest] = -(-space[largest] // 2)
    return (*space, shape[-1])


def main_directions(known: Source, resized: Callable[[np.ndarray], Array]) -> dict[str, np.ndarray]:
    """The mean and the eigenvectors of the greatest eigenvalues of the covariance, each with its largest number
    positive, so that they are the same on every machine but for rounding."""
    index = evenly(len(known), MOST)
    total: Float64[np.ndarray, " d"] | float = 0.0
    products: Float64[np.ndarray, "d d"] | float = 0.0
    for piece in pieces(known, index, PIECE):
        rows = np.asarray(resized(to_range(piece["x"], known.spec)), np.float64)
        total, products = total + rows.sum(0), products + rows.T @ rows
    mean = np.asarray(total) / len(index)
    covariance = np.asarray(products) / len(index) - np.outer(mean, mean)
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :DIRECTIONS]
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return {"mean": mean.astype(np.float32), "directions": vectors.astype(np.float32)}
