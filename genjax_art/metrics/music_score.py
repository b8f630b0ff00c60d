"""How many measures of generated music lie where those of held-out music lie: a bootstrap band for each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from genjax_art.metrics.music_notes import ratio


@dataclass(frozen=True)
class Band:
    """A measure's mean over generated clips beside the band of its mean over held-out clips."""

    name: str
    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.value <= self.high  # False for NaN


@dataclass(frozen=True)
class MusicScore:
    """`inside` of the `bands` hold the generated music's mean: the score."""

    bands: tuple[Band, ...]

    @property
    def inside(self) -> int:
        return sum(band.inside for band in self.bands)


def score(
    generated: Mapping[str, Float64[np.ndarray, " g"]],
    heldout: Mapping[str, Float64[np.ndarray, " h"]],
    pieces: Int[np.ndarray, " h"] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> MusicScore:
    """The generated clips' mean of each measure beside the percentile bootstrap band of the held-out clips'
    mean.

    `generated` and `heldout` are what `music_metrics` gives for clips of the same length; NaN are left out
    of the means. `pieces` names the piece that a held-out clip is from: clips of a piece are alike, so whole
    pieces are resampled (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13);
    without it each clip is its own piece. Generate a thousand clips or more: the band holds no error of
    their mean.

    Raises:
      ValueError: measures that are not the same in both, or no held-out clips.
    """
    if generated.keys() != heldout.keys() or not heldout:
        differing = ", ".join(sorted(generated.keys() ^ heldout.keys())) or "none at all"
        raise ValueError(f"generated and held-out clips need the same measures; not in both: {differing}")
    values = np.stack([heldout[name] for name in generated], 1)
    if not len(values):
        raise ValueError("a band needs held-out clips, got none")
    _, index = np.unique(np.arange(len(values)) if pieces is None else pieces, return_inverse=True)
    known = ~np.isnan(values)
    sums, counts = np.zeros((2, index.max() + 1, values.shape[1]))
    np.add.at(sums, index, np.where(known, values, 0.0))
    np.add.at(counts, index, known)
    draws = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    weights = np.stack([np.bincount(draw, minlength=len(sums)) for draw in draws]).astype(np.float64)
    total = weights @ counts
    means = ratio(weights @ sums, total)
    tail = 50.0 * (1.0 - level)
    bands = []
    for (name, per_clip), mean in zip(generated.items(), means.T, strict=True):
        known_means, clips = mean[~np.isnan(mean)], per_clip[~np.isnan(per_clip)]
        low, high = np.percentile(known_means, [tail, 100.0 - tail]) if len(known_means) else (np.nan, np.nan)
        bands.append(Band(name, float(clips.mean()) if len(clips) else float("nan"), float(low), float(high)))
    return MusicScore(tuple(bands))
