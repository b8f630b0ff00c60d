"""Samples and data as features: made once, and what several measures need of them computed once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.special import softmax

from genjax_art.metrics.neighbours import ball_radii
from genjax_art.metrics.stream import evenly

REFERENCE = 10_000  # training examples that densities and distributions are taken from; copies are sought in all
KS = (3, 5)  # to which neighbours balls reach: of precision and recall, and of density and coverage


@runtime_checkable
class Sees(Protocol):
    """What measures ask of a feature extractor; see `features/extractor.py`."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def resize(self) -> str: ...
    @property
    def classes(self) -> str: ...
    @property
    def temperature(self) -> float: ...
    def figure(self, kind: str) -> str: ...
    def of(self, x: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """`made` and `held` have as many rows; `known` are all training data, `reference` some of them, evenly chosen.

    Logits and labels are None where the extractor does not classify, or the data have no labels.
    """

    extractor: Sees
    made: Float[np.ndarray, "n d"]
    held: Float[np.ndarray, "n d"]
    known: Float[np.ndarray, "k d"]
    made_logits: Float[np.ndarray, "n c"] | None = None
    held_logits: Float[np.ndarray, "n c"] | None = None
    held_labels: Int[np.ndarray, " n"] | None = None
    known_labels: Int[np.ndarray, " k"] | None = None

    @cached_property
    def reference(self) -> Float[np.ndarray, "r d"]:
        return self.known[evenly(len(self.known), REFERENCE)]

    @cached_property
    def radii(self) -> Float64[np.ndarray, "r 2"]:
        """Of the reference's balls, to the neighbours `KS`."""
        return ball_radii(self.reference, KS)

    @cached_property
    def spacing(self) -> Float64[np.ndarray, " k"]:
        """The distance of each training example to its nearest other."""
        return ball_radii(self.known, (1,))[:, 0]

    @property
    def probabilities(self) -> tuple[Float64[np.ndarray, "n c"], Float64[np.ndarray, "n c"]] | None:
        """Calibrated class probabilities of `made` and of `held`."""
        if self.made_logits is None or self.held_logits is None:
            return None
        made, held = (x.astype(np.float64) / self.extractor.temperature for x in (self.made_logits, self.held_logits))
        return softmax(made, axis=1), softmax(held, axis=1)

    @property
    def styles(self) -> tuple[Float64[np.ndarray, "n c"], Float64[np.ndarray, "n c"]] | None:
        """`probabilities`, where the classes are the data's labels."""
        ours = self.extractor.classes == "labels" and self.known_labels is not None
        return self.probabilities if ours else None
