"""Frechet distance of clips, beside what clips that are wrong in time would have.

FVD (Unterthiner et al. 2018, arXiv:1812.01717) is this distance on the features of an I3D network trained on
Kinetics-400. That name is used for an extractor of yours only which says `called={"FD": "FVD"}`; of own features it is
FD-own. It sees motion as far as its features do, which its controls show.

Protocol: 2,048 samples beside 2,048 training clips, of 16 frames. Distances of other numbers of clips or frames are
others, and are marked: a sample of 256 clips alone may double the figure.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from genjax_art.metrics import frechet
from genjax_art.metrics.clip_controls import controls, with_controls
from genjax_art.metrics.row import Row
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

CLIPS, FRAMES = 2048, 16
AT_ONCE = 250  # clips
PROTOCOL = (CLIPS, CLIPS, FRAMES)  # samples, training clips, frames


def measure(subject: Subject) -> dict[str, Row]:
    """The Frechet distance of samples from the training data, with held-out clips and the controls beside it.

    Samples are as many as are drawn (`--n`) and held-out clips allow; flags name what is not as in the protocol.
    """
    seen = subject.seen
    seen = replace(seen, known=seen.known[evenly(len(seen.known), CLIPS)])
    found = frechet.measure(replace(subject, look=lambda: seen))
    name, of = seen.extractor.figure("FD"), frechet.figures(seen.reference, seed=subject.seed)
    row = with_controls(found[name], {word: of(features) for word, features in wrong_features(subject).items()})
    counts = (len(seen.made), len(seen.known), subject.spec.shape[0])
    flags = [] if counts == PROTOCOL else ["{}, {} clips of {} frames, not {}, {} of {}".format(*counts, *PROTOCOL)]
    return {**found, name: replace(row, samples=replace(row.samples, flags=(*row.samples.flags, *flags)))}


def wrong_features(subject: Subject) -> dict[str, Float[np.ndarray, "n d"]]:
    """The features of the controls, made of the held-out clips that samples stand beside, some at a time."""
    seen = subject.seen
    places = evenly(len(subject.held), len(seen.held))
    found: dict[str, list[np.ndarray]] = {}
    for part in np.array_split(places, -(-len(places) // AT_ONCE)):
        for name, x in controls(subject.in_range(subject.held.take(part)["x"]), subject.seed).items():
            found.setdefault(name, []).append(seen.extractor.of(x)["features"])
    return {name: np.concatenate(pieces) for name, pieces in found.items()}
