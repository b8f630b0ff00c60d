"""Grid of 5 x 5 narrow Gaussians, the mode-coverage test of PacGAN: the networks and the method of `ring8`.

Source of the data: Lin et al. 2018 (arXiv:1712.04086). The plane is four times as wide as the ring's and the modes are
five times as wide as its, so slopes are smaller by that and the penalties weigh some 25 times as much.
`python -m genjax_art.benchmark modes --only grid25` trains ten seeds at once and counts the modes.
Cost: minutes on two CPU cores, all ten seeds. Results: genjax_art/benchmark/README.md.
python train.py grid25
"""

import dataclasses

from genjax_art.config import Component
from genjax_art.presets import ring8

EXPERIMENT = dataclasses.replace(
    ring8.EXPERIMENT,
    name="grid25",
    data=Component("grid25"),
    objective=Component(
        "gan", {"loss": "relativistic", "penalties": {"r1": (0.5, 3e-3), "r2": (0.5, 3e-3)}, "burn_in": 2500}
    ),
)
