"""PacGAN's grid of 25 Gaussians (Lin et al. 2018, arXiv:1712.04086), and its points as examples."""

import numpy as np

from genjax_art.data.contract import Source
from genjax_art.data.mixtures import Mixture, sample_of


def build(*, split: str = "train") -> Source:
    """Points of a grid of 25 Gaussians; the label is the mode.

    Args:
      split: which points: train or test, 100,000 each, drawn independently.

    Raises:
      NoSplit: another split.
    """
    return sample_of(mixture(), "grid25", split)


def mixture() -> Mixture:
    """25 modes on {-4, -2, 0, 2, 4}^2, standard deviation 0.05."""
    axis = np.arange(-4, 5, 2, dtype=np.float32)
    return Mixture(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.05, 100_000)
