"""PacGAN's ring of eight Gaussians (Lin et al. 2018, arXiv:1712.04086), and its points as examples."""

import numpy as np

from genjax_art.data.contract import Source
from genjax_art.data.mixtures import Mixture, sample_of


def build(*, split: str = "train") -> Source:
    """Points of a ring of eight Gaussians; the label is the mode.

    Args:
      split: which points: train or test, 100,000 each, drawn independently.

    Raises:
      NoSplit: another split.
    """
    return sample_of(mixture(), "ring8", split)


def mixture() -> Mixture:
    """8 modes on a circle of radius 1, standard deviation 0.01."""
    angle = 2 * np.pi * np.arange(8) / 8
    return Mixture(np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32), 0.01, 100_000)
