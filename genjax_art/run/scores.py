"""By which figure of its samples a checkpoint is the best of its run: `--best-by`. Lower is better.

Each is a function of a plan and its data that makes a function of samples. Samples are drawn from moving averages where
they are kept; data, latents and directions are the same at every checkpoint.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from genjax_art import sampling
from genjax_art.build import Plan
from genjax_art.data.batches import to_range
from genjax_art.data.contract import Source
from genjax_art.errors import unknown
from genjax_art.metrics.kernels import kid
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein
from genjax_art.train.state import TrainState

SCORED = 1000  # samples and data compared

Score = Callable[[Float[np.ndarray, "n ..."]], float]


def distance_of_pixels(plan: Plan, real: Float[np.ndarray, "n ..."], source: Source) -> Score:
    """Sliced Wasserstein distance of the arrays themselves: costs nothing, and sees tone and layout."""
    del source
    distance = jax.jit(sliced_wasserstein)
    return lambda made: float(distance(made, real, jax.random.key(plan.run.seed)))


def distance_of_features(plan: Plan, real: Float[np.ndarray, "n ..."], source: Source) -> Score:
    """KD-own: the kernel distance of features of a net of the data's own, which is trained first (minutes, once for the
    same data); unbiased, so that a thousand samples are enough."""
    from genjax_art.features.extractor import build_extractor, usual_extractor

    extractor = build_extractor(usual_extractor(source), source, source)
    known = extractor.of(real)["features"]
    return lambda made: kid(known, extractor.of(made)["features"]).value


SCORES: Mapping[str, Callable[[Plan, Any, Source], Score]] = {
    "sliced_wasserstein": distance_of_pixels,
    "kd_own": distance_of_features,
}


def scorer(plan: Plan, source: Source) -> Callable[[TrainState], float]:
    """The score of a state; with several seeds the mean of the members' scores.

    Raises:
      UsageError: the plan asks for a score that there is not.
    """
    if plan.run.best_by not in SCORES:
        raise unknown("--best-by", plan.run.best_by, SCORES)
    seed, n = plan.run.seed, min(SCORED, len(source))
    rows = np.random.default_rng(seed).permutation(len(source))[:n]

    @cache
    def of_samples() -> Score:  # with the first checkpoint: until then, memory and time are the training's
        return SCORES[plan.run.best_by](plan, to_range(source.take(rows)["x"], plan.spec), source)

    def score(state: TrainState) -> float:
        members = [sampling.weights_of(one)[0] for one in plan.seeds.members(state)]
        made = [sampling.sample(plan.method, weights, n=n, seed=seed) for weights in members]
        return float(np.mean([of_samples()(x) for x in made]))

    return score
