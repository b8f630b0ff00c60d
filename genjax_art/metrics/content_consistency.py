"""Does a clip keep its content? Average content distance (ACD) between its frames.

MoCoGAN (Tulyakov et al. 2018, arXiv:1707.04993, 4.1): the average pairwise L2 distance of the frames' vectors, over all
pairs of frames of a clip. A vector is the average colour of the shape there, or for faces an identity network's
(OpenFace); in its place stand own features in which the frames of one clip are alike. ACD looks at no motion: a frozen
clip has 0, and order does not count, as its controls show. So it is read beside that of the data, and beside a distance
which sees motion.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from genjax_art.metrics.clip_controls import controls, with_controls
from genjax_art.metrics.row import Figure, Row, of_mean, row_by
from genjax_art.metrics.subject import Subject
from genjax_art.spec import ArraySpec

LEAST = 32.0  # levels of 255 by which something must differ from the ground it is shown on
AT_ONCE = 64  # clips


def content_distance(vectors: Float[np.ndarray, "n t d"]) -> Float64[np.ndarray, " n"]:
    """The mean L2 distance over all pairs of frames of each clip, in units of the vectors.

    Raises:
      ValueError: clips of one frame, which have no pairs.
    """
    t = vectors.shape[1]
    if t < 2:
        raise ValueError("a content distance needs clips of two frames or more")
    first, second = np.triu_indices(t, 1)
    x = vectors.astype(np.float64)
    return np.linalg.norm(x[:, first] - x[:, second], axis=-1).mean(1)


def shown_colour(x: Float[np.ndarray, "n t h w c"], spec: ArraySpec) -> Float64[np.ndarray, "n t c"]:
    """The mean colour of what a frame shows, in levels of 0 to 255: the mean over its pixels, by the squares of their
    distances from the frame's median colour, so that edges, which are half ground, hardly count. Where no pixel is 32
    levels away from the median there is nothing, and it is the median."""
    levels = (x.astype(np.float64) - spec.low) * (255.0 / (spec.high - spec.low))
    ground = np.median(levels, axis=(2, 3), keepdims=True)
    distance = np.sum((levels - ground) ** 2, -1, keepdims=True)
    total = distance.sum((2, 3))
    mean = np.sum(levels * distance, (2, 3)) / np.maximum(total, 1e-9)
    return np.where(distance.max((2, 3)) > LEAST**2, mean, ground[:, :, 0, 0])


def directions(features: Float[np.ndarray, "n t d"]) -> Float64[np.ndarray, "n t d"]:
    """Vectors of length 1, as those of identity networks."""
    x = features.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def measure(subject: Subject, *, clips: int = 512) -> dict[str, Any]:
    """ACD of the shown colours and of own features of frames, of samples and of held-out clips; `ACD_ratio` is that of
    the colours' figures. The third control has a content that changes: its second half is of another clip.

    Args:
      clips: of samples and of held-out ones.
    """
    made = subject.made[:clips]
    held = subject.some(subject.held, len(made))
    half = held.shape[1] // 2
    mixed = np.concatenate([held[:, :half], np.roll(held, 1, 0)[:, half:]], 1)
    wrong = controls(held, subject.seed) | {"half another": mixed}
    eyes = subject.own("own_frames")

    def of_frames(x: np.ndarray) -> np.ndarray:
        return directions(eyes.of(x)["features"].reshape(len(x), x.shape[1], -1))

    def pair(metric: str, sees: Any, vectors: Callable[[np.ndarray], np.ndarray], unit: str) -> Row:
        def figure(x: np.ndarray) -> Figure:
            parts = np.array_split(np.arange(len(x)), -(-len(x) // AT_ONCE))
            return of_mean(np.concatenate([content_distance(vectors(x[part])) for part in parts]), subject.seed)

        row = row_by(
            sees,
            metric,
            lambda: figure(made),
            lambda: figure(held),
            better="low",
            unit=unit,
            n_real=len(held),
            n_fake=len(made),
            seed=subject.seed,
        )
        return with_controls(row, {name: figure(x) for name, x in wrong.items()})

    colours = pair("ACD-colour", "mean colour of what is shown", lambda x: shown_colour(x, subject.spec), "levels")
    rows = {"ACD-colour": colours, "ACD-own": pair("ACD-own", eyes, of_frames, "between unit vectors")}
    assert colours.real is not None
    ratio = colours.samples.value / colours.real.value if colours.real.value else float("inf")
    return {**rows, "ACD_ratio": ratio}
