"""Are content and motion apart? Clips with the content of one clip and the motion of another, seen by a classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from genjax_art.keys import fold, key_of
from genjax_art.latents import rows
from genjax_art.metrics.clip_controls import controls, with_controls
from genjax_art.metrics.motion_accuracy import EYES, logits_of
from genjax_art.metrics.row import of_mean, row_by
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

PARTS = ("content", "motion")


def partners(count: int, seed: int = 0) -> Int[np.ndarray, " n"]:
    """For each of at least two clips another one, whose motion it is given; each is given once."""
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, np.int64)
    other[order] = np.roll(order, 1)
    return other


def shares(
    found: Int[np.ndarray, " n"], own: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Whether a swapped clip shows the class of the clip that its content is of, and of the one that its motion is of;
    of the pairs whose classes differ, so that none is right by chance."""
    apart = own != other
    return found[apart] == own[apart], found[apart] == other[apart]


def measure(subject: Subject, *, clips: int = 512) -> dict[str, Any]:
    """Content-swap and motion-swap accuracy of a run whose latents are content and motion; nothing of another one.

    Clips are held-out ones, encoded, with their true classes; without an encoder they are samples, with the classes
    that the classifier finds in them before the swap. Each has its motion replaced by another's. Of data with the key
    "motion" the label is the content: `content_swap` is the share of clips that keep the label of the content's clip,
    `motion_swap` the share that take the motion of the motion's clip, both only of pairs that differ in it. Of data
    with labels alone nobody says what these are: `label_of_content` and `label_of_motion` are the shares in which the
    label goes with the one and with the other. Held-out data stand for what the classifier finds in the clips as they
    are; so do `..._reconstructed` for plain reconstructions. A conditional run is given the labels of the content.

    Args:
      clips: how many, evenly chosen.
    """
    run, seed = subject.run, subject.seed
    n = min(clips, len(subject.held))
    held = subject.held.take(evenly(len(subject.held), n))
    keys = [key for key in ("label", "motion") if key in held]
    encoded = run.method.encode is not None
    labels = run.labels(n, seed) if not encoded else held.get("label") if run.method.classes else None
    z = run.draw(fold(key_of(seed), "swap"), 2, None if labels is None else labels[:2])
    if not isinstance(z, Mapping) or set(z) != set(PARTS) or not keys or n < 2:
        return {}
    eyes, x = subject.own(EYES), subject.in_range(held["x"])
    z = run.encode(x, labels) if encoded else run.draw(fold(key_of(seed), "swap"), n, labels)
    plain, other = run.decode(z, labels), partners(n, seed)
    swapped = run.decode({"content": z["content"], "motion": rows(z["motion"], other)}, labels)
    wrong = controls(x, seed)
    found: dict[str, Any] = {}
    for key in keys:
        of_plain, of_held, of_swapped = (logits_of(eyes, y, key).argmax(1) for y in (plain, x, swapped))
        own = held[key] if encoded else of_plain
        of_content, of_motion = shares(of_swapped, own, own[other])
        if encoded:
            found[f"{key}_reconstructed"] = float(np.mean(of_plain == held[key]))
        if "motion" not in keys:
            found |= {"label_of_content": _mean(of_content), "label_of_motion": _mean(of_motion)}
            continue
        right = of_content if key == "label" else of_motion
        if not len(right):  # all clips are of one class
            continue
        name = "content_swap" if key == "label" else "motion_swap"
        row = row_by(
            eyes,
            name,
            lambda: of_mean(right, seed),  # noqa: B023
            lambda: of_mean(of_held == held[key], seed),  # noqa: B023
            better="high",
            unit="of pairs that differ",
            n_real=n,
            n_fake=len(right),
            seed=seed,
        )
        of_wrong = {word: of_mean(logits_of(eyes, y, key).argmax(1) == held[key], seed) for word, y in wrong.items()}
        found[name] = with_controls(row, of_wrong)
    return found


def _mean(values: Bool[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
