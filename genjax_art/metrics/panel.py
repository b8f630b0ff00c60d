"""Imitation or innovation? The measures that are misleading one by one, read together.

Noise has the greatest style entropy; truncation looks like copying to C_T; rubbish off the manifold is wholly
authentic. So copies and what is off the manifold are vetoes: whatever else such samples score, they are nothing new.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax_art.metrics import classes, copying, manifold, vendi
from genjax_art.metrics.classes import style_entropy
from genjax_art.metrics.copying import copy_rate, data_copying, duplicates
from genjax_art.metrics.manifold import density, mean_rarity, rarity, realism
from genjax_art.metrics.neighbours import ball_radii
from genjax_art.metrics.record import Record
from genjax_art.metrics.stream import evenly, mean_of
from genjax_art.metrics.subject import Subject

# Set by hand, so that data drawn anew pass and the known cases of `benchmark/metrics.py` are told apart.
COPIES = 0.05  # share of copies from which on samples are copies
OFF_DENSITY, OFF_REALISM = 0.5, 0.85  # of the held-out data's: below both, samples lie off the manifold
COLLAPSED_VENDI, COLLAPSED_TWINS = 0.5, 0.5  # of the held-out data's Vendi score; share of samples with a twin
TRUNCATED_DENSITY, TRUNCATED_RARITY = 1.15, 0.97
NEAR_TEST = -3.0  # C_T below which samples lie nearer to the training data than held-out data do
ROUGH_DENSITY = 0.75  # of the held-out data's: undecided samples there are malformed, not new
NEW_ENTROPY = 0.1  # nats above the held-out data's
FEW = 100  # held-out examples below which much that is wrong cannot be told from chance


@dataclass(frozen=True)
class Reading:
    """What the panel looks at. Of held-out data `copy_rate` and `copy_test` are 0 by definition."""

    copy_rate: float
    copy_test: float
    """C_T; NaN where there are too few examples for it."""
    density: float
    realism: float
    """The median."""
    rarity: float
    """The mean of samples in the manifold; NaN where there are none."""
    vendi: float
    """Of features from which the training data's mean is taken, of as many samples as there are held-out data."""
    duplicates: float
    style_entropy: float | None = None
    """The mean, nats; None without styles."""


@dataclass(frozen=True)
class Verdict:
    """`words` names the case: "copies", "off the manifold", "collapsed", "truncated", "rough", "new", "near the
    training data" or "like the data"."""

    words: tuple[str, ...]
    sentence: str

    @property
    def vetoed(self) -> bool:
        return bool({"copies", "off the manifold"} & set(self.words))


def readings(
    train: Float[np.ndarray, "n d"],
    held: Float[np.ndarray, "h d"],
    fake: Float[np.ndarray, "m d"],
    held_styles: Float[np.ndarray, "h c"] | None = None,
    fake_styles: Float[np.ndarray, "m c"] | None = None,
    *,
    seed: int = 0,
) -> tuple[Reading, Reading]:
    """The readings of samples and of held-out data, both beside the training data.

    Args:
      held_styles, fake_styles: calibrated style probabilities of both.
      seed: of C_T's partition.

    Raises:
      ValueError: sets too small for a measure, or features that are not finite.
    """
    n = min(len(held), len(fake))
    held_some, fake_some = held[evenly(len(held), n)], fake[evenly(len(fake), n)]
    centre, radii = mean_of(train), ball_radii(train, (3, 5))

    def reading(rows: np.ndarray, some: np.ndarray, styles: np.ndarray | None, copied: float, test: float) -> Reading:
        return Reading(
            copied,
            test,
            density(train, rows, radii[:, 1], 5),
            float(np.median(realism(train, rows, 3, radii[:, 0]))),
            mean_rarity(rarity(train, rows, 3, radii[:, 0])),
            vendi.vendi(some - centre),
            float(duplicates(some, held_some).mean()),
            None if styles is None else float(style_entropy(styles).mean()),
        )

    copied, test = copy_rate(train, held, fake).rate, data_copying(train, held, fake, seed=seed).value
    return reading(fake, fake_some, fake_styles, copied, test), reading(held, held_some, held_styles, 0.0, 0.0)


def read(samples: Reading, held: Reading) -> Verdict:
    """Names the case: the vetoes that hold and collapse, or else the first that holds of truncation, roughness,
    novelty, nearness and likeness."""
    off = _off(samples, held)
    found = [case for case in (_copies(samples), off, _collapsed(samples, held, far=off is not None)) if case]
    rest = (_truncated(samples, held), _rough(samples, held), _new(samples, held), _near(samples))
    found = found or [case for case in rest if case][:1]
    variety = f"{samples.vendi / held.vendi:.0%} of the held-out data's variety"
    found = found or [("like the data", f"no copies, on the manifold, {variety}")]
    return Verdict(tuple(word for word, _ in found), "; ".join(sentence for _, sentence in found))


Case = tuple[str, str] | None  # a word and a sentence


def _copies(samples: Reading) -> Case:
    if samples.copy_rate < COPIES:
        return None
    return "copies", f"{samples.copy_rate:.0%} of the samples are copies of training examples"


def _off(samples: Reading, held: Reading) -> Case:
    if samples.density >= OFF_DENSITY * held.density or samples.realism >= OFF_REALISM * held.realism:
        return None
    share = samples.density / held.density
    return "off the manifold", f"samples lie where data are rare, in {share:.0%} of the held-out data's density"


def _collapsed(samples: Reading, held: Reading, *, far: bool) -> Case:
    variety, twins = samples.vendi / held.vendi, samples.duplicates
    alike = variety < COLLAPSED_VENDI and not far  # seen from the data, all that is far lies in one direction
    if not alike and twins - held.duplicates < COLLAPSED_TWINS:
        return None
    return "collapsed", f"{twins:.0%} of the samples have a twin; their variety is {variety:.0%} of the held-out data's"


def _truncated(samples: Reading, held: Reading) -> Case:
    denser = samples.density > TRUNCATED_DENSITY * held.density
    common = samples.rarity < TRUNCATED_RARITY * held.rarity
    if not (denser and common and samples.copy_test < NEAR_TEST):
        return None
    return (
        "truncated",
        "samples keep to where the data are densest: no copies, but less than the data's range",
    )


def _rough(samples: Reading, held: Reading) -> Case:
    share = samples.density / held.density
    if share >= ROUGH_DENSITY and samples.realism >= OFF_REALISM * held.realism:
        return None
    return "rough", f"samples lie beside the data more than among them, in {share:.0%} of the held-out data's density"


def _new(samples: Reading, held: Reading) -> Case:
    ours, theirs = samples.style_entropy, held.style_entropy
    if ours is None or theirs is None or ours - theirs <= NEW_ENTROPY:
        return None
    words = (
        f"on the manifold and no copies, with styles less decided than the data's ({ours:.2f}, not {theirs:.2f} nats)"
    )
    return "new", words


def _near(samples: Reading) -> Case:
    if not samples.copy_test < NEAR_TEST:
        return None
    return (
        "near the training data",
        f"samples are nearer to training examples than held-out data are (C_T {samples.copy_test:.1f}), few of them "
        "copies: learnt by heart in part, or smoother than the data; look at the nearest ones",
    )


def measure(subject: Subject) -> dict[str, Any]:
    """The verdict in words and a sentence, and all that it is read from: what other measures have found."""
    parts = (copying.measure, manifold.measure, vendi.measure, classes.measure)
    rows = {name: row for part in parts for name, row in subject.once(part).items()}
    samples = _reading({name: row.samples for name, row in rows.items()})
    held = _reading({name: row.real for name, row in rows.items()})
    held = replace(held, copy_rate=0.0, copy_test=0.0)  # they are what copies are judged by
    verdict = read(samples, held)
    n = rows["precision"].samples.n_fake
    few = f" (of {n} held-out examples, beside which only gross faults show)" if n < FEW else ""
    return {
        "verdict": ", ".join(verdict.words),
        "because": verdict.sentence + few,
        "vetoed": verdict.vetoed,
        "panel": {"samples": asdict(samples), "held-out": asdict(held)},
    }


def _reading(records: Mapping[str, Record]) -> Reading:
    value = {name: record.value for name, record in records.items()}
    return Reading(
        copy_rate=value["copy_rate"],
        copy_test=value["C_T"],
        density=value["density"],
        realism=value["realism"],
        rarity=value["rarity"],
        vendi=value["Vendi"],
        duplicates=value["duplicates"],
        style_entropy=value.get("style_entropy"),
    )
