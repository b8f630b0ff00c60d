"""Has it collapsed? Each sign with a light from its interval, and what is likely the cause and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax_art.metrics import classes, copying, manifold, vendi
from genjax_art.metrics.row import Row
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

# (measure, figure): signs of collapse; of each the share of the held-out data's figure below which the light is red,
# set by hand. Of duplicates it is their share beyond the held-out data's.
SIGNS: Mapping[str, tuple[Any, float]] = {
    "recall": (manifold.measure, 0.5),
    "coverage": (manifold.measure, 0.5),
    "Vendi": (vendi.measure, 0.5),
    "modes": (classes.measure, 0.9),
    "duplicates": (copying.measure, 0.2),
}
MOST = 250  # examples drawn of one class
LOOKED_THROUGH = 1000  # held-out examples, for some of that class
DEAF = 0.01  # spread of a decoder's examples over that of the data, below which it does not hear z


@dataclass(frozen=True)
class Sign:
    """`light`: green where samples are as the held-out data or better, red where far worse, else yellow."""

    name: str
    value: float
    real: float
    light: str


def measure(subject: Subject) -> dict[str, Any]:
    """The lights, and a sentence on the likely cause and the option to try."""
    found = [sign(name, subject.once(of)[name], red) for name, (of, red) in SIGNS.items() if name in subject.once(of)]
    hears = sensitivity(subject)
    found.append(Sign("sensitivity to z", hears, 1.0, "red" if hears < DEAF else "green" if hears > 0.5 else "yellow"))
    encoded, told = subject.run.method.encode is not None, bool(subject.run.method.classes)
    precise = sign("precision", subject.once(manifold.measure)["precision"], 0.5)
    return {
        "collapse": {one.name: {"value": one.value, "real": one.real, "light": one.light} for one in found},
        "lights": " ".join(f"{one.name}: {one.light}" for one in found),
        "remedy": remedy({one.name: one.light for one in found}, precise.light, encoded=encoded, conditional=told),
    }


def sign(name: str, row: Row, red: float) -> Sign:
    """The light of a figure beside that of held-out data."""
    ours, theirs = row.samples, row.real
    assert theirs is not None
    if row.light != "worse":
        light = "green" if row.light else "yellow"
    elif row.better == "low":
        light = "red" if ours.value - theirs.value > red else "yellow"
    else:
        light = "red" if ours.value < red * theirs.value else "yellow"
    return Sign(name, ours.value, theirs.value, light)


def sensitivity(subject: Subject) -> float:
    """Standard deviation of decoded examples where only z differs, over that of held-out data, of one class where the
    run is told which: about 1 for samples as varied as those data, 0 for a decoder that is deaf to z."""
    run, n = subject.run, min(MOST, len(subject.made))
    made = run.sample(n, subject.seed, run.method.classes[0] if run.method.classes else None)
    data = _alike(subject, n)
    spread = float(np.sqrt(data.astype(np.float64).var(0).mean()))
    return float(np.sqrt(made.astype(np.float64).var(0).mean())) / spread if spread else 1.0


def _alike(subject: Subject, n: int) -> Float[np.ndarray, "m ..."]:
    """At most n held-out examples, of the run's first class where it is told which and they tell."""
    found = subject.held.take(evenly(len(subject.held), LOOKED_THROUGH))
    x, told = found["x"], subject.run.method.classes and subject.run.method.classes == subject.spec.classes
    if told and "label" in found and np.sum(found["label"] == 0) > 1:
        x = x[found["label"] == 0]
    return subject.in_range(x[evenly(len(x), n)])


def remedy(lights: Mapping[str, str], precision: str, *, encoded: bool, conditional: bool = False) -> str:
    """One sentence: what the lights mean together, and the option to try first.

    Args:
      lights: of the signs by name.
      precision: its light.
      encoded: the run has an encoder: a VAE.
      conditional: it is told the class.
    """
    red = {name for name, light in lights.items() if light == "red"}
    little = red & {"recall", "coverage", "Vendi"}
    cases = (
        (
            "sensitivity to z" in red and encoded,
            "the decoder ignores z (posterior collapse): try a smaller --objective.beta",
        ),
        (
            bool(red & {"duplicates", "sensitivity to z"}),
            "the generator makes few different examples: try --objective.loss relativistic with "
            "--objective.penalties.r1 and .r2",
        ),
        (
            "modes" in red and conditional,
            "classes that are asked for are not found: try --objective.loss relativistic with --objective.penalties.r1 "
            "and .r2, or --objective.name acgan",
        ),
        ("modes" in red, "classes are missing: try --model.conditional, or --objective.packing 2"),
        (
            bool(little) and precision == "green",
            "good examples of a part of the data only: try --objective.loss relativistic, or less truncation",
        ),
        (bool(little), "examples lie beside the data, not among them: train longer (--steps), or a wider model"),
        ("yellow" in lights.values(), "no collapse, though less varied than the data where it is yellow: train longer"),
    )
    return next((words for holds, words in cases if holds), "no sign of collapse")
