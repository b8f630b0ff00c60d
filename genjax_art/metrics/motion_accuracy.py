"""Do clips move as the data do? What a classifier of motion, trained on the data, finds in samples.

Its classes are those under the data's key "motion", or else the labels, which for sprites are what they do. Where they
are contents, the controls say so: then a clip standing still shows its class as well.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from genjax_art.metrics.bootstrap import interval_of_halves
from genjax_art.metrics.classes import class_histogram, softmax, style_entropy, temperature
from genjax_art.metrics.clip_controls import controls, with_controls
from genjax_art.metrics.row import Better, Figure, Row, of_mean, row_by
from genjax_art.metrics.seen import Sees
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

Judged = Callable[[Float[np.ndarray, "n classes"]], Figure]  # of the logits of some clips
EYES = "own_clips"
LOGITS = {"motion": "motion_logits", "label": "logits"}  # by that extractor


def logits_of(eyes: Sees, x: Float[np.ndarray, "n t h w c"], key: str) -> Float[np.ndarray, "n classes"]:
    """What the classifier finds of the classes under a key of the data."""
    found: Float[np.ndarray, "n classes"] = eyes.of(x)[LOGITS[key]]
    return found


def motion_key(subject: Subject) -> str | None:
    """The key of the classes of motion: "motion", else "label"; None where the data have neither."""
    example = subject.held.take(np.arange(1))
    return next((key for key in LOGITS if key in example), None)


def measure(subject: Subject, *, clips: int = 512) -> dict[str, Any]:
    """How sure and how evenly spread the classes of motion are, and whether they are those asked for.

    `motion_accuracy` is the share of samples of the class that they were asked for, of a run that is conditional on
    these classes; of held-out clips the share that the classifier finds, which is told of all runs as
    `motion_classifier`. `motion_entropy` is the mean entropy of the calibrated probabilities, as `style_entropy`;
    `motion_divergence` the divergence of the classes' shares from the data's. Nothing is found of data without classes.

    Args:
      clips: of samples and of held-out ones.
    """
    key, seed = motion_key(subject), subject.seed
    if key is None:
        return {}
    eyes, made = subject.own(EYES), subject.made[:clips]
    rows = subject.held.take(evenly(len(subject.held), len(made)))
    held, truth = subject.in_range(rows["x"]), rows[key]
    known = subject.known.take(evenly(len(subject.known), 10_000))[key]
    of_made, of_held = (logits_of(eyes, x, key) for x in (made, held))
    of_wrong = {name: logits_of(eyes, x, key) for name, x in controls(held, seed).items()}
    heat, classes = temperature(of_held, truth), of_held.shape[1]

    def right(logits: Float[np.ndarray, "n c"], asked: Int[np.ndarray, " n"]) -> Figure:
        return of_mean(logits.argmax(1) == asked, seed)

    def entropy(logits: Float[np.ndarray, "n c"]) -> Figure:
        return of_mean(style_entropy(softmax(logits, heat)), seed)

    def divergence(logits: Float[np.ndarray, "n c"]) -> Figure:
        def value(logits: Float[np.ndarray, "n c"]) -> float:
            # each class once more than in the data, so that one without examples, which may yet be named, has a share
            return class_histogram(logits.argmax(1), np.concatenate([known, np.arange(classes)]), classes).divergence

        return Figure(value(logits), *interval_of_halves(value, logits, seed=seed))

    def pair(name: str, of: Judged, of_right: Judged, better: Better, unit: str = "") -> Row:
        """`of` the samples, `of_right` the held-out clips and the controls made of them."""
        counts = {"n_real": len(held), "n_fake": len(made)}
        row = row_by(
            eyes, name, lambda: of(of_made), lambda: of_right(of_held), better=better, unit=unit, seed=seed, **counts
        )
        return with_controls(row, {word: of_right(logits) for word, logits in of_wrong.items()})

    found: dict[str, Any] = {
        "motion_entropy": pair("motion_entropy", entropy, entropy, "real", "nats"),
        "motion_divergence": pair("motion_divergence", divergence, divergence, "low", "nats"),
        "motion_classifier": right(of_held, truth).value,
    }
    asked = subject.asked
    if key == "label" and asked is not None and tuple(subject.run.method.classes) == subject.spec.classes:
        of, of_right = (partial(right, asked=labels) for labels in (asked[: len(made)], truth))
        found = {"motion_accuracy": pair("motion_accuracy", of, of_right, "high"), **found}
    return found
