"""What a classifier finds in samples: Inception Score, the classes that are reached, how sure it is of the style."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from genjax_art.metrics.bootstrap import interval_of_halves
from genjax_art.metrics.row import Better, Figure, Row, of_mean, row_of
from genjax_art.metrics.subject import Subject

COLDEST, HOTTEST = 0.05, 20.0  # between which a temperature is sought


def inception_score(probabilities: Float[np.ndarray, "n c"], splits: int = 1) -> float:
    """exp of the mean KL divergence of each sample's class probabilities from their mean: 1 where all are alike, c for
    sure predictions of all classes in equal shares (Salimans et al. 2016, arXiv:1606.03498).

    Of the classes of Inception v3 it is the Inception Score; of one's own classifier it is "Inception-Score-own".

    Args:
      splits: the published scores are means over ten parts, in order, and lower than that of the whole.

    Raises:
      ValueError: rows that are no probabilities, or fewer rows than splits.
    """
    p = _probabilities(probabilities)
    if not 1 <= splits <= len(p):
        raise ValueError(f"an Inception Score needs 1 to n parts, got {splits} of {len(p)}")
    edges = np.arange(splits + 1) * len(p) // splits
    scores = [np.exp(information(p[a:b]).mean()) for a, b in pairwise(edges)]
    return float(np.mean(scores))


def information(probabilities: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
    """KL of each row from the mean row, nats; 0 log 0 = 0."""
    p, mean = probabilities, probabilities.mean(0)
    ratio = np.where(p > 0, p, 1.0) / np.where(mean > 0, mean, 1.0)[None, :]
    return np.sum(p * np.log(np.where(p > 0, ratio, 1.0)), 1)


def style_entropy(probabilities: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
    """Entropy of each sample's calibrated style probabilities, nats, 0 to log c: how undecided its style is.

    A sample of no style has it, and so has rubbish: read it beside precision (`panel.py`).

    Raises:
      ValueError: rows that are no probabilities.
    """
    p = _probabilities(probabilities)
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), 1)


def _probabilities(p: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    p = p.astype(np.float64)
    if not len(p) or not (p >= 0).all() or not np.allclose(p.sum(1), 1.0, atol=1e-4):
        raise ValueError(f"probabilities are not negative and sum to 1 in each row; got shape {p.shape}")
    return p / p.sum(1, keepdims=True)


def softmax(logits: Float[np.ndarray, "n c"], temperature: float = 1.0) -> Float64[np.ndarray, "n c"]:
    """Probabilities from logits over a temperature."""
    z = logits.astype(np.float64)
    e = np.exp((z - z.max(1, keepdims=True)) / temperature)
    return e / e.sum(1, keepdims=True)


def temperature(logits: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> float:
    """The temperature within [0.05, 20] at which held-out labels are likeliest (Guo et al. 2017, arXiv:1706.04599).

    The likelihood is concave in 1 / temperature, so bisection of its slope finds it. Where every label is right the
    coldest is likeliest.

    Raises:
      ValueError: no examples, logits that are not finite, or labels beyond the classes.
    """
    z = logits.astype(np.float64)
    if not len(z) or not np.isfinite(z).all() or labels.min() < 0 or labels.max() >= z.shape[1]:
        raise ValueError(f"calibration needs finite logits and labels among their classes, got shape {z.shape}")
    z = z - z.max(1, keepdims=True)
    given = z[np.arange(len(z)), labels].mean()
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = 0.5 * (low + high)
        expected = np.sum(softmax(z, np.exp(middle)) * z, 1).mean()
        # where the model expects less than the labels have, it is not sure enough: colder
        low, high = (low, middle) if expected < given else (middle, high)
    return float(np.exp(0.5 * (low + high)))


OFTEN = 5  # examples: where so many are expected, a class is missed by chance once in 150 times (e^-5)


@dataclass(frozen=True)
class Histogram:
    """Samples of each class beside the data's shares."""

    counts: Int[np.ndarray, " c"]
    shares: Float64[np.ndarray, " c"]

    @property
    def modes(self) -> int:
        """Classes with a sample at least."""
        return int(np.sum(self.counts > 0))

    @property
    def coverage(self) -> float:
        """Share of the data whose class has a sample."""
        return float(self.shares[self.counts > 0].sum())

    @property
    def divergence(self) -> float:
        """KL of the samples' shares from the data's, nats; about (c - 1) / 2n for n perfect samples."""
        q = self.counts / self.counts.sum()
        hit = q > 0
        return float(np.sum(q[hit] * np.log(q[hit] / self.shares[hit])))


def class_histogram(found: Int[np.ndarray, " n"], real: Int[np.ndarray, " m"], classes: int) -> Histogram:
    """The classes that a classifier finds in samples, beside those of the data.

    Raises:
      ValueError: no samples or data, classes beyond the number, or samples of a class that the data do not have.
    """
    for name, labels in (("samples", found), ("data", real)):
        if not len(labels) or labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"a class histogram needs {name} with classes 0 to {classes - 1}")
    counts, shares = np.bincount(found, minlength=classes), np.bincount(real, minlength=classes) / len(real)
    if strange := [int(c) for c in np.nonzero((counts > 0) & (shares == 0))[0]]:
        raise ValueError(f"samples have classes that the data do not have: {strange}")
    return Histogram(counts, shares)


def measure(subject: Subject) -> dict[str, Any]:
    """The classes of samples, of an extractor that classifies; nothing of another one, and only the Inception Score
    where its classes are not the data's labels.

    `class_accuracy` is the share of samples of a conditional run that show the class asked for. `modes` are the classes
    with a sample, of those that are seen at least five times in as many held-out examples: of another one perfect
    samples may have none, either. Of fewer than five examples a class, those that are seen at all.
    """
    seen, seed, found = subject.seen, subject.seed, subject.seen.probabilities
    if found is None:
        return {}
    made, held = found
    name, classes = seen.extractor.figure("IS"), made.shape[1]

    def score(p: Float64[np.ndarray, "n c"]) -> Figure:
        return Figure(inception_score(p), *interval_of_halves(inception_score, p, seed=seed))

    def pair(name: str, of: Callable[[Float64[np.ndarray, "n c"]], Figure], better: Better, unit: str = "") -> Row:
        return row_of(seen, name, lambda: of(made), lambda: of(held), better=better, unit=unit, seed=seed)

    rows = {name: pair(name, score, "high")}
    if seen.styles is None:
        return rows

    def histogram(p: Float64[np.ndarray, "n c"]) -> Histogram:
        # each class once more than in the data, so that one without examples, which may yet be named, has a share
        return class_histogram(p.argmax(1), np.concatenate([seen.known_labels, np.arange(classes)]), classes)

    def divergence(p: Float64[np.ndarray, "n c"]) -> Figure:
        def value(p: Float64[np.ndarray, "n c"]) -> float:
            return histogram(p).divergence

        return Figure(value(p), *interval_of_halves(value, p, seed=seed))

    named = np.bincount(held.argmax(1), minlength=classes)
    often = named >= (OFTEN if len(held) >= OFTEN * classes else 1)

    def modes(p: Float64[np.ndarray, "n c"]) -> Figure:
        count = float(np.sum(often[np.unique(p.argmax(1))]))
        return Figure(count, count, count)

    rows |= {
        "style_entropy": pair("style_entropy", lambda p: of_mean(style_entropy(p), seed), "real", "nats"),
        "modes": pair("modes", modes, "high", f"of {often.sum()} classes, as seen in held-out data"),
        "class_divergence": pair("class_divergence", divergence, "low", "nats"),
    }
    asked = subject.asked
    if asked is not None and seen.held_labels is not None and tuple(subject.run.method.classes) == subject.spec.classes:
        right, of_held = made.argmax(1) == asked[: len(made)], held.argmax(1) == seen.held_labels
        rows["class_accuracy"] = row_of(
            seen,
            "class_accuracy",
            lambda: of_mean(right, seed),
            lambda: of_mean(of_held, seed),
            better="high",
            seed=seed,
        )
    return rows
