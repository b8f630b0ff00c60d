"""Samples and data as the measures see them: through an extractor, the data's features from the cache folder."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from genjax_art.data.contract import Source, labels_of, pieces
from genjax_art.features.extractor import Extractor
from genjax_art.features.kept import kept
from genjax_art.metrics.seen import Seen
from genjax_art.metrics.stream import evenly


def see(
    extractor: Extractor,
    made: Float[np.ndarray, "n ..."],
    held: Source,
    known: Source,
    in_range: Callable[[np.ndarray], np.ndarray],
) -> Seen:
    """The features of samples, of as many held-out examples, and of the training data.

    The data's features are kept in the cache folder under the content of the data and all that the extractor is.
    """
    n = min(len(made), len(held))
    some = evenly(len(held), n)
    of_made = extractor.of(made[:n])
    of_held, of_known = (_of_data(extractor, data, in_range) for data in (held, known))
    return Seen(
        extractor,
        of_made["features"],
        of_held["features"][some],
        of_known["features"],
        of_made.get("logits"),
        of_held["logits"][some] if "logits" in of_held else None,
        labels_of(held, some),
        labels_of(known, np.arange(len(known))),
    )


def _of_data(
    extractor: Extractor, data: Source, in_range: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Float[np.ndarray, "n _"]]:
    def make() -> dict[str, np.ndarray]:
        found = [extractor.of(in_range(rows["x"])) for rows in pieces(data)]
        return {name: np.concatenate([piece[name] for piece in found]) for name in found[0]}

    return kept(f"seen-by-{_plain(extractor.name)}", [extractor.digest], data, make)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
