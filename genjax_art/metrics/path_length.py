"""Perceptual path length: how much features move where latents move a little."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from genjax_art.keys import fold, key_of
from genjax_art.latents import Between, Latents, count, great_circles, rows
from genjax_art.metrics.row import of_mean, row_of
from genjax_art.metrics.subject import Subject

STEP = 1e-2  # of `measure`: differences of float32 features over 1e-4 are rounding


def path_lengths(
    features_of: Callable[[Latents], Float[np.ndarray, "b d"]],
    first: Latents,
    last: Latents,
    time: Float64[np.ndarray, " n"],
    *,
    step: float = 1e-4,
    between: Between = great_circles,
    batch: int = 64,
) -> Float64[np.ndarray, " n"]:
    """|f(z(t + step)) - f(z(t))|^2 / step^2 of each pair's way, in squared units of the features (Karras et al. 2019,
    arXiv:1812.04948, with one's own features in place of LPIPS).

    Long where a small move changes much: a path that jumps between remembered pictures is longer than a smooth one, and
    a decoder that is deaf to z has none. The published figure is the mean without the extreme hundredths (`trimmed`).

    Args:
      features_of: latents of a batch to features; deterministic, or its noise is what is measured.
      first, last: the ends of the ways, n each.
      time: places on them, within [0, 1 - step].
      step: too small a one drowns in float32.
      between: the method's way from one end to the other.
      batch: latents at once.

    Raises:
      ValueError: no ways, a step that is not positive, times off the way, or features that are not finite.
    """
    n = count(first)
    if not n or not step > 0 or len(time) != n or not (time >= 0).all() or not (time <= 1.0 - step).all():
        raise ValueError(f"path lengths need a time within [0, 1 - {step:g}] for each of {n} ways")
    lengths = np.empty(n)
    for begin in range(0, n, batch):
        part = slice(begin, begin + batch)
        a, b, t = rows(first, part), rows(last, part), time[part]
        here, there = (np.asarray(features_of(between(a, b, at)), np.float64) for at in (t, t + step))
        lengths[part] = np.sum((there - here) ** 2, 1) / step**2
    if not np.isfinite(lengths).all():
        raise ValueError("path lengths need features that are finite")
    return lengths


def trimmed(values: Float64[np.ndarray, " n"], share: float = 0.01) -> Float64[np.ndarray, " m"]:
    """The values without that share of the least and of the greatest, as in the published figure."""
    low, high = np.quantile(values, share, method="lower"), np.quantile(values, 1 - share, method="higher")
    return values[(values >= low) & (values <= high)]


def measure(subject: Subject, *, ways: int = 200) -> dict[str, Any]:
    """How much the features of samples move where their latents move a little, along ways between random latents.

    Args:
      ways: how many.
    """
    run, extractor = subject.run, subject.seen.extractor
    first, last = (run.draw(fold(key_of(subject.seed), word), ways, run.labels(ways)) for word in ("a", "b"))
    labels, between = run.labels(ways), run.method.abilities.get("between", great_circles)
    numbered: Latents = (np.arange(ways), first)

    def features_of(z: Latents) -> Float[np.ndarray, "b d"]:
        return extractor.of(run.decode(z[1], None if labels is None else labels[z[0]]))["features"]

    def on_the_way(a: Latents, b: Latents, t: Float64[np.ndarray, " n"]) -> Latents:
        return a[0], between(a[1], b[1], t)

    time = np.random.default_rng(subject.seed).uniform(0, 1 - STEP, ways)
    found = trimmed(path_lengths(features_of, numbered, (numbered[0], last), time, step=STEP, between=on_the_way))
    return {
        "path_length": row_of(
            subject.seen,
            "path_length",
            lambda: of_mean(found, subject.seed),
            None,
            better="low",
            unit="squared features",
            seed=subject.seed,
        )
    }
