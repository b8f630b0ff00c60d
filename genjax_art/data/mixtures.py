"""Mixtures of Gaussians with known modes: generated from a seed, so nothing is prepared, cached or decoded.

An example's label is its mode. The mixtures themselves are in `sets/`.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from genjax_art.data.contract import ArraySource, NoSplit
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


def sample_of(mixture: Mixture, name: str, split: str) -> ArraySource:
    """A fixed large sample of the mixture of that name; "train" and "test" are independent draws.

    Raises:
      NoSplit: another split.
    """
    if split not in SPLITS:
        raise NoSplit(name, split, SPLITS)
    rng = np.random.default_rng([zlib.crc32(name.encode()), SPLITS.index(split)])
    x, label = mixture.draw(rng, mixture.length)
    classes = tuple(str(mode) for mode in range(len(mixture.centres)))
    spec = ArraySpec(x.shape[1:], -mixture.reach, mixture.reach, "points", classes, bounded=False)
    return ArraySource(spec, {"x": x, "label": label})
