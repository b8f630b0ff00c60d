"""How far a figure would move with other examples: intervals that are cheap enough to be given always.

Two ways. Where a measure is a function of means over examples (shares, densities, kernel distances to first order),
examples are resampled and the means taken anew; what the examples are compared with is held fixed. Where it is not
(Frechet distance, Vendi score), it is taken again of random halves.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Shaped

AT_ONCE = 1 << 22  # numbers drawn at once


class Interval(NamedTuple):
    low: float
    high: float


def interval_of_means(
    statistic: Callable[..., float],
    *values: Float64[np.ndarray, "_"] | Bool[np.ndarray, "_"],
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13) of a function of means.

    Each array is resampled by itself. A share of exactly 0 or 1 has an interval of no width: of n examples it may be up
    to 3 / n away.

    Args:
      statistic: the means, one for each of `values`, to the figure.
      level: what is covered.
      resamples: means drawn.
      seed: of the draws.

    Raises:
      ValueError: an array without entries, or a level outside (0, 1).
    """
    _check(level, *values)
    rng = np.random.default_rng(seed)
    means = [_resampled_means(x.astype(np.float64), resamples, rng) for x in values]
    return _percentiles(np.asarray([statistic(*(float(m) for m in row)) for row in zip(*means, strict=True)]), level)


def _resampled_means(
    x: Float64[np.ndarray, " n"], resamples: int, rng: np.random.Generator
) -> Float64[np.ndarray, " b"]:
    step = max(1, AT_ONCE // len(x))
    sizes = [min(step, resamples - begin) for begin in range(0, resamples, step)]
    return np.concatenate([x[rng.integers(len(x), size=(size, len(x)))].mean(1) for size in sizes])


def interval_of_halves(
    statistic: Callable[..., float],
    *sets: Shaped[np.ndarray, "_ ..."],
    level: float = 0.95,
    repeats: int = 20,
    seed: int = 0,
) -> Interval:
    """The interval of any figure of whole sets, from its spread over random halves of each.

    A half drawn without replacement varies, given the set, by what the set itself varies by: the delete-d jackknife of
    Shao & Wu 1989 with d = n / 2. Drawing with replacement would not do, since the copies of examples that it makes
    look like collapse. Halves are biased otherwise than the whole (by 1/n, for a Frechet distance), so their spread is
    laid around the figure of the whole. It is a normal interval, as twenty halves have no tails.

    Args:
      statistic: the sets to the figure.
      level: what is covered.
      repeats: halves drawn, at the cost of the statistic each.
      seed: of the draws.

    Raises:
      ValueError: sets of fewer than four, fewer than two repeats, or a level outside (0, 1).
    """
    _check(level, *sets)
    if repeats < 2 or min(len(x) for x in sets) < 4:
        raise ValueError("halves need two repeats and sets of four or more")
    rng = np.random.default_rng(seed)
    whole = statistic(*sets)
    found = [statistic(*(x[np.sort(rng.permutation(len(x))[: len(x) // 2])] for x in sets)) for _ in range(repeats)]
    width = NormalDist().inv_cdf(0.5 + 0.5 * level) * float(np.std(found, ddof=1))
    return Interval(whole - width, whole + width)


def _check(level: float, *values: np.ndarray) -> None:
    if not 0 < level < 1 or not values or not all(len(x) for x in values):
        raise ValueError(f"an interval needs examples and a level within (0, 1), got {level:g}")


def _percentiles(replicates: Float64[np.ndarray, " b"], level: float) -> Interval:
    low, high = np.percentile(replicates, [50.0 * (1.0 - level), 50.0 * (1.0 + level)])
    return Interval(float(low), float(high))
