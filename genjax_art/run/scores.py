"""By which figure of its samples a checkpoint is the best of its run: `--best-by`. Lower is better.

Each is a function of data, their source and a seed that makes a function of samples. Samples are drawn from moving
averages where they are kept; data, latents and directions are the same at every checkpoint.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float64, Int

from genjax_art import sampling
from genjax_art.build import Plan
from genjax_art.data.batches import to_range
from genjax_art.data.contract import Source
from genjax_art.errors import unknown
from genjax_art.keys import key_of
from genjax_art.media.medium import find_medium
from genjax_art.metrics.frechet import frechet_distance
from genjax_art.metrics.kernels import kid
from genjax_art.metrics.music import music_metrics
from genjax_art.metrics.music_features import music_features
from genjax_art.metrics.music_report import binary_rolls
from genjax_art.metrics.sliced_wasserstein import sliced_wasserstein
from genjax_art.music.notes import is_bars
from genjax_art.train.state import TrainState

SCORED = 1000  # samples and data compared

Score = Callable[[Float[np.ndarray, "n ..."]], float]


def distance_of_pixels(real: Float[np.ndarray, "n ..."], source: Source, seed: int) -> Score:
    """Sliced Wasserstein distance of the arrays themselves: costs nothing, and sees tone and layout."""
    del source
    distance = jax.jit(sliced_wasserstein)
    return lambda made: float(distance(made, real, key_of(seed)))


def distance_of_strokes(real: Float[np.ndarray, "n ..."], source: Source, seed: int) -> Score:
    """The kernel distance of scattering coefficients: a second or two, and some to compile it; sees strokes, layout,
    blur and grain."""
    del seed
    return of_features("scattering", real, source)


def distance_of_music(real: Float[np.ndarray, "n ..."], source: Source, seed: int) -> Score:
    """Frechet distance of the measures of music: of harmony, rhythm and voices, note by note."""
    del seed

    def features(x: Float[np.ndarray, "n ..."]) -> Float64[np.ndarray, "n d"]:
        return music_features(music_metrics(binary_rolls(x, source.spec)))

    known = features(real)
    return lambda made: frechet_distance(features(made), known)


def distance_of_features(real: Float[np.ndarray, "n ..."], source: Source, seed: int) -> Score:
    """KD-own: the kernel distance of features of a net of the data's own, which is trained first (minutes, once for the
    same data); unbiased, so that a thousand samples are enough."""
    from genjax_art.features.extractor import usual_extractor

    del seed
    return of_features(usual_extractor(source), real, source)


def of_features(extractor: str, real: Float[np.ndarray, "n ..."], source: Source) -> Score:
    """The kernel distance of what that extractor sees."""
    from genjax_art.features.extractor import build_extractor

    see = build_extractor(extractor, source, source).of
    known = see(real)["features"]
    return lambda made: kid(known, see(made)["features"]).value


SCORES: Mapping[str, Callable[[Any, Source, int], Score]] = {
    "sliced_wasserstein": distance_of_pixels,
    "kd_scattering": distance_of_strokes,
    "music_distance": distance_of_music,
    "kd_own": distance_of_features,
}


def score_by(name: str, source: Source, seed: int) -> Score:
    """The score of that name of samples in place of `source`; "default": the first of its medium's that fits the
    arrays. Samples that are not finite are infinitely far.

    It is prepared when the first samples come: until then, memory and time are the training's.

    Raises:
      UsageError: there is none for this medium.
    """
    known = find_medium(source.spec.kind).scores
    if name == "default":
        name = known[0] if fits(known[0], source) else "sliced_wasserstein"
    if name not in known:
        raise unknown(f"--best-by for arrays of kind {source.spec.kind}", name, known)
    rows = rows_compared(source, seed)

    @cache
    def prepared() -> Score:
        return SCORES[name](to_range(source.take(rows)["x"], source.spec), source, seed)

    return lambda made: prepared()(made) if np.isfinite(made).all() else np.inf


def fits(name: str, source: Source) -> bool:
    """Whether a medium's usual score can be had of arrays of this shape and number."""
    match name:
        case "music_distance":
            return is_bars(source.spec.shape)
        case "kd_scattering":
            return len(source.spec.space) in (2, 3) and len(source) > 1
    return True


def rows_compared(source: Source, seed: int) -> Int[np.ndarray, " n"]:
    """The examples beside which samples are scored; conditional samples have their labels."""
    return np.random.default_rng(seed).permutation(len(source))[:SCORED]


def scorer(plan: Plan, source: Source) -> Callable[[TrainState], float]:
    """The score of a state; with several seeds the mean of the members' scores.

    Raises:
      UsageError: the plan asks for a score that there is not for its medium.
    """
    seed = plan.run.seed
    rows = rows_compared(source, seed)
    of_samples = score_by(plan.run.best_by, source, seed)

    @cache
    def labels() -> Int[np.ndarray, " n"] | None:
        # runs from before that was the way go on by equal numbers, so that their scores stay comparable
        as_data = plan.method.classes and plan.run.best_by != "sliced_wasserstein"
        return source.take(rows)["label"] if as_data else None

    def score(state: TrainState) -> float:
        members = [sampling.weights_of(one)[0] for one in plan.seeds.members(state)]
        made = [sampling.sample(plan.method, one, n=len(rows), seed=seed, label=labels()) for one in members]
        return float(np.mean([of_samples(x) for x in made]))

    return score
