"""Samples whose verdict is known beforehand, in features drawn from a mixture of Gaussians: the panel's own exam."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from genjax_art.errors import unknown

CASES = {
    "drawn anew": ("like the data",),
    "a tenth near copies": ("copies",),
    "all copies": ("copies",),
    "truncated": ("truncated",),
    "shifted": ("off the manifold",),
    "noise": ("off the manifold",),
    "five points": ("collapsed",),
    "between styles": ("new",),
}
STYLES = 4


@dataclass(frozen=True)
class Case:
    """`words` is what the panel should say; `copy_rate` the share of copies."""

    train: Float64[np.ndarray, "n d"]
    held: Float64[np.ndarray, "h d"]
    fake: Float64[np.ndarray, "m d"]
    held_styles: Float64[np.ndarray, "h c"]
    fake_styles: Float64[np.ndarray, "m c"]
    words: tuple[str, ...]
    copy_rate: float


def known_case(name: str, *, dimension: int = 16, samples: int = 600, seed: int = 0) -> Case:
    """The case of that name: twice as many training examples as samples, as many held-out ones.

    The data are four styles, Gaussian clouds of common covariance whose centres lie half a radius apart, so that there
    is something between them; style probabilities are the true posteriors.

    Raises:
      UsageError: an unknown name.
    """
    if name not in CASES:
        raise unknown("known case", name, CASES)
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    centres = rng.normal(size=(STYLES, dimension))
    centres *= 3.0 / np.linalg.norm(centres, axis=1, keepdims=True)  # a shift that is plain in any dimension

    def draw(count: int, *, spread: float = 1.0, middle: float = 0.0) -> np.ndarray:
        first, second = rng.integers(STYLES, size=(2, count))
        place = (1.0 - middle) * centres[first] + middle * centres[second]
        return place + spread * rng.normal(size=(count, dimension))

    def near(points: np.ndarray) -> np.ndarray:
        return points + 0.02 * rng.normal(size=points.shape)

    train, held, fake = draw(2 * samples), draw(samples), draw(samples)
    tenth, copied = samples // 10, {"a tenth near copies": 0.1, "all copies": 1.0}.get(name, 0.0)
    made: dict[str, Any] = {
        "drawn anew": lambda: fake,
        "a tenth near copies": lambda: np.concatenate([near(train[:tenth]), fake[tenth:]]),
        "all copies": lambda: near(train[rng.permutation(len(train))[:samples]]),
        "truncated": lambda: draw(samples, spread=0.7),
        "shifted": lambda: fake + 3.0 * np.sign(rng.normal(size=dimension)),
        "noise": lambda: 4.0 * rng.normal(size=(samples, dimension)),
        "five points": lambda: draw(5)[rng.integers(5, size=samples)] + 0.003 * rng.normal(size=(samples, dimension)),
        "between styles": lambda: draw(samples, middle=0.5),
    }
    fake = made[name]()
    of_held, of_fake = (_posterior(x, centres) for x in (held, fake))
    return Case(train @ mix, held @ mix, fake @ mix, of_held, of_fake, CASES[name], copied)


def _posterior(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    logits = x @ centres.T - 0.5 * np.sum(centres**2, 1)[None, :]
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)
