"""The row of VEEGAN's mixture: ten modes in 1,200 dimensions, each spread over 700 of them.

VEEGAN (arXiv:1705.07761, section 4.1) counts a sample as of high quality within ten standard deviations of a centre,
and averages five runs of 2,500 samples. In 700 dimensions the data themselves lie 26.4 standard deviations from their
centres, so not one of them passes, and only a sampler that shrinks its modes can. The row gives that count, to stand
beside the published ones, and one that data pass: the distance that a mode's samples have, on the axes that it has.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from genjax_art.benchmark import mixture_modes
from genjax_art.data.sets import mixture1200
from genjax_art.metrics.modes import mode_coverage, placement, shell_coverage

ROWS = ("mixture1200",)
SEEDS = 5
PUBLISHED = {"GAN": 1.6, "VEEGAN": 5.5}  # modes by VEEGAN's rule: Srivastava et al. 2017, table 1 (arXiv:1705.07761)


def measure(name: str, k: int, steps: int | None = None) -> dict[str, Any]:
    """The row of k seeds, each of so many steps (None: those of the preset)."""
    made = mixture_modes.samples(name, k, steps)
    return {"name": name, "seeds": k, **judged(made)}


def judged(made: Sequence[np.ndarray]) -> dict[str, Any]:
    """Both counts of each run's samples, and what they are like: distances in standard deviations of a mode."""
    mixture = mixture1200.mixture()
    assert mixture.scales is not None
    by_seed = [
        {
            "published": dict(mode_coverage(x, mixture.centres, 10 * mixture.sd).row()),
            "faithful": dict(shell_coverage(x, mixture.centres, mixture.scales).row()),
            **nearness(x, mixture.centres, mixture.scales),
        }
        for x in made
    ]
    means = {
        f"{rule}_{what}": float(np.mean([row[rule][what] for row in by_seed]))
        for rule in ("published", "faithful")
        for what in ("modes", "high_quality")
    }
    return {**means, "by_seed": by_seed}


def nearness(x: np.ndarray, centres: np.ndarray, scales: np.ndarray) -> dict[str, Any]:
    """How many modes are nearest to some sample, the median distance along a mode's axes (data: 26.4) and, as root mean
    square, beside them (data: 0)."""
    nearest, along, beside = placement(x, centres, scales)
    modes = len(np.unique(nearest))
    return {"nearest_modes": modes, "along": float(np.median(along)), "beside": float(np.median(beside))}


def lines(row: dict[str, Any]) -> list[str]:
    """The row and the published ones, as text."""
    likeness = {what: np.mean([one[what] for one in row["by_seed"]]) for what in ("nearest_modes", "along", "beside")}
    text = [
        f"{row['name']} by VEEGAN's rule, which data do not pass: modes {row['published_modes']:.1f}/10  "
        f"high quality {row['published_high_quality']:.1%}  {row['seeds']} runs, {row['seconds']:.0f} s",
        f"            by one that they pass: modes {row['faithful_modes']:.1f}/10  high quality "
        f"{row['faithful_high_quality']:.1%} (a faithful sampler: 99.7%)",
        f"            modes nearest to a sample: {likeness['nearest_modes']:.1f}; from that centre along its axes "
        f"{likeness['along']:.1f} (data: 26.4), beside them {likeness['beside']:.2f} an axis (data: 0)",
    ]
    return text + [f"            {method:8s} modes {modes:.1f}  (published)" for method, modes in PUBLISHED.items()]
