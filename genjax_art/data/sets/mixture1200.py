"""VEEGAN's mixture in 1,200 dimensions (Srivastava et al. 2017, arXiv:1705.07761), and its points as examples."""

import numpy as np

from genjax_art.data.contract import Source
from genjax_art.data.mixtures import Mixture, sample_of


def build(*, split: str = "train") -> Source:
    """Points of ten Gaussians in 1,200 dimensions, each over 700 of them; the label is the mode.

    Args:
      split: which points: train or test, 10,000 each, drawn independently.

    Raises:
      NoSplit: another split.
    """
    return sample_of(mixture(), "mixture1200", split)


def mixture() -> Mixture:
    """10 modes in 1,200 dimensions: centres uniform in [-1, 1], each with unit variance along 700 axes of its own.

    VEEGAN leaves centres and subspaces open; here they are drawn once from a fixed seed, the subspaces along axes.
    """
    rng = np.random.default_rng(1200)
    centres = rng.uniform(-1, 1, (10, 1200)).astype(np.float32)
    scales = np.zeros((10, 1200), np.float32)
    for mode in range(10):
        scales[mode, rng.permutation(1200)[:700]] = 1
    return Mixture(centres, 1.0, 10_000, scales)
