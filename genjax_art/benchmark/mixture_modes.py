"""Rows of mode coverage on mixtures with known modes, all seeds in one compiled step.

The protocol of PacGAN (arXiv:1712.04086, section 4.1): 2,500 samples; one of high quality lies within three standard
deviations of its nearest mode, a mode is covered if it has such a sample. Each row is the preset of its name, sampled
with the moving average.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from genjax_art import sampling
from genjax_art.build import build_plan, build_source, load_preset
from genjax_art.config import with_run
from genjax_art.data.sets import grid25, ring8
from genjax_art.metrics.modes import CEILING_2D, Coverage, mode_coverage
from genjax_art.run.feed import stream_of
from genjax_art.run.training import compile_plan, initial_state
from genjax_art.train.loop import train

SAMPLES = 2500
ROWS = ("ring8", "grid25")
MIXTURES = {"ring8": ring8.mixture, "grid25": grid25.mixture}  # by data set
SEEDS = 10
# Means over ten runs: modes, share of high quality (None: not given). GAN, PacGAN: Lin et al. 2018, table 1
# (arXiv:1712.04086); VEEGAN: Srivastava et al. 2017, table 1 (arXiv:1705.07761).
PUBLISHED: dict[str, dict[str, tuple[float, float | None]]] = {
    "ring8": {"GAN": (6.3, None), "PacGAN4": (7.8, None), "VEEGAN": (8.0, 0.529)},
    "grid25": {"GAN": (17.3, None), "PacGAN4": (24.8, None), "VEEGAN": (24.6, 0.40)},
}


def measure(name: str, k: int, steps: int | None = None) -> dict[str, Any]:
    """The row `name` of k seeds, each of so many steps (None: those of the preset)."""
    return summary(name, coverages(name, k, steps))


def coverages(name: str, k: int, steps: int | None = None) -> list[Coverage]:
    """Trains the preset `name` with seeds 0 ... k-1 and counts the modes of each."""
    mixture = MIXTURES[load_preset(name).data.name]()
    return [mode_coverage(x, mixture.centres, 3 * mixture.sd) for x in samples(name, k, steps)]


def samples(name: str, k: int, steps: int | None = None) -> list[Float[np.ndarray, "n d"]]:
    """Trains the preset `name` with seeds 0 ... k-1 and draws as many samples of each as the protocol wants."""
    experiment = with_run(load_preset(name), seeds=k)
    if steps is not None:
        experiment = with_run(experiment, steps=steps)
    source = build_source(experiment)
    plan = build_plan(experiment, source.spec)
    compiled = compile_plan(plan, "jit")
    stream = stream_of(plan, source, 0)
    state = train(compiled, compiled.put_state(initial_state(plan)), stream, steps=plan.run.steps)
    stream.close()
    state = jax.device_get(state)
    members = [(sampling.weights_of(one)[0], int(one.seed)) for one in plan.seeds.members(state)]
    return [sampling.sample(plan.method, weights, n=SAMPLES, seed=seed) for weights, seed in members]


def summary(name: str, found: Sequence[Coverage]) -> dict[str, Any]:
    """The row: means and standard deviations over the seeds, and the worst of them."""
    quality, kl = [c.high_quality for c in found], [c.reverse_kl for c in found]
    total = len(found[0].counts)
    return {
        "name": name,
        "seeds": len(found),
        "modes": float(np.mean([c.modes for c in found])),
        "of_modes": total,
        "runs_with_all_modes": sum(c.modes == total for c in found),
        "high_quality": float(np.mean(quality)),
        "high_quality_sd": float(np.std(quality, ddof=1)) if len(found) > 1 else 0.0,
        "high_quality_worst": float(min(quality)),
        "reverse_kl": float(np.mean(kl)),
        "narrow_runs": sum(c.is_narrow() for c in found),
        "by_seed": [dict(c.row()) for c in found],
    }


def lines(row: dict[str, Any]) -> list[str]:
    """The row and the published ones, as text."""
    text = [
        f"{row['name']:8s} modes {row['modes']:.1f}/{row['of_modes']} "
        f"(all of them in {row['runs_with_all_modes']} of {row['seeds']} runs)  high quality "
        f"{row['high_quality']:.1%} ± {row['high_quality_sd']:.1%}, worst {row['high_quality_worst']:.1%} "
        f"(a faithful sampler: {CEILING_2D:.1%})  reverse KL {row['reverse_kl']:.3f}  {row['seconds']:.0f} s"
    ]
    if row["narrow_runs"]:
        text.append(f"         under-dispersed: {row['narrow_runs']} runs lie above the faithful sampler's share")
    for method, (modes, quality) in PUBLISHED[row["name"]].items():
        share = "" if quality is None else f"  high quality {quality:.1%}"
        text.append(f"         {method:8s} modes {modes:.1f}{share}  (published)")
    return text
