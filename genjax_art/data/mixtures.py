"""Mixtures of Gaussians with known modes: generated from a seed, so nothing is prepared, cached or decoded.

`ring8` and `grid25` are those of PacGAN (Lin et al. 2018, arXiv:1712.04086), `mixture1200` that of
VEEGAN (Srivastava et al. 2017, arXiv:1705.07761): 10 modes in 1,200 dimensions, each spread over a
700-dimensional subspace of its own. An example's label is its mode.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from genjax_art.data.arrays import ArraySource, DataError
from genjax_art.data.request import Request
from genjax_art.spec import ArraySpec

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely Gaussians: N(centres[k], sd^2 I), or with `scales` N(centres[k], diag(scales[k])^2)."""

    centres: Float[np.ndarray, "k d"]
    sd: float
    length: int  # examples in a split
    scales: Float[np.ndarray, "k d"] | None = None

    @property
    def reach(self) -> float:
        """The data lie in [-reach, reach]: 8 standard deviations beyond the outermost centre."""
        return float(np.abs(self.centres).max()) + 8 * self.sd

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
        """n points and their modes."""
        label = rng.integers(0, len(self.centres), n, dtype=np.int32)
        noise = rng.standard_normal((n, self.centres.shape[1]), np.float32)
        spread = np.float32(self.sd) if self.scales is None else self.scales[label]
        x = self.centres[label] + spread * noise
        return np.clip(x, -self.reach, self.reach).astype(np.float32), label


def ring8() -> Mixture:
    """8 modes on a circle of radius 1, standard deviation 0.01."""
    angle = 2 * np.pi * np.arange(8) / 8
    return Mixture(np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32), 0.01, 100_000)


def grid25() -> Mixture:
    """25 modes on {-4, -2, 0, 2, 4}^2, standard deviation 0.05."""
    axis = np.arange(-4, 5, 2, dtype=np.float32)
    return Mixture(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.05, 100_000)


def mixture1200() -> Mixture:
    """10 modes in 1,200 dimensions: centres uniform in [-1, 1], each with unit variance along 700 axes of its own.

    VEEGAN leaves centres and subspaces open; here they are drawn once from a fixed seed, the subspaces along axes.
    """
    rng = np.random.default_rng(1200)
    centres = rng.uniform(-1, 1, (10, 1200)).astype(np.float32)
    scales = np.zeros((10, 1200), np.float32)
    for mode in range(10):
        scales[mode, rng.permutation(1200)[:700]] = 1
    return Mixture(centres, 1.0, 10_000, scales)


MIXTURES: Mapping[str, Callable[[], Mixture]] = {"ring8": ring8, "grid25": grid25, "mixture1200": mixture1200}


def open_mixture(request: Request) -> ArraySource:
    """A fixed large sample of the mixture `request.name`; "train" and "test" are independent draws.

    Raises DataError for another split, or where a folder, a size or channels are asked for.
    """
    if request.split not in SPLITS:
        raise DataError(f"{request.name} has no split {request.split!r}: choose from {', '.join(SPLITS)}")
    if request.folder or request.size or request.channels:
        raise DataError(f"{request.name} holds generated points: leave folder, size and channels out")
    mixture = MIXTURES[request.name]()
    rng = np.random.default_rng([zlib.crc32(request.name.encode()), SPLITS.index(request.split)])
    x, label = mixture.draw(rng, mixture.length)
    classes = tuple(str(mode) for mode in range(len(mixture.centres)))
    spec = ArraySpec(x.shape[1:], -mixture.reach, mixture.reach, "points", classes, bounded=False)
    return ArraySource(spec, {"x": x, "label": label})
