"""Grid of 5 x 5 narrow Gaussians, the mode-coverage test of PacGAN: the networks and the method of `ring8`.

Source of the data: Lin et al. 2018 (arXiv:1712.04086). The plane is four times as wide as the ring's, so
slopes are a quarter of its and penalties weigh 16 times as much.
`python -m genjax_art.benchmark modes --only grid25` trains ten seeds at once and counts the modes.
python train.py grid25
"""

import dataclasses

from genjax_art.config import Component, Data
from genjax_art.presets import ring8

EXPERIMENT = dataclasses.replace(
    ring8.EXPERIMENT,
    name="grid25",
    data=Data("grid25"),
    objective=Component("gan", {"loss": "relativistic", "penalties": {"r1": 0.08, "r2": 0.08}}),
)
