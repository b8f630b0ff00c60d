"""Features of frames in which those of one clip are alike: what stays the same while it moves.

The net of `network.py`, trained without labels as own-contrastive is (SimCLR, arXiv:2002.05709), where the two views
are two frames of one clip, each moved a little. What differs between clips and not within one is its content.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float

from genjax_art.data.batches import batch_at
from genjax_art.data.contract import Source
from genjax_art.errors import UsageError
from genjax_art.features.extractor import Extractor
from genjax_art.features.kept import kept
from genjax_art.features.network import Headed, deep, flat, shifts, train, unit_range
from genjax_art.features.own_contrastive import HEAD, contrast
from genjax_art.spec import Key

VERSION = 1
BATCH, RATE = 64, 2e-3  # clips


def build(known: Source, held: Source, *, steps: int = 400) -> Extractor:
    """A vector of each frame, one after another: [b, frames x d].

    Args:
      steps: of its training, on two frames each of 64 clips.

    Raises:
      UsageError: examples that are no clips, or are of one frame.
    """
    del held
    spec = known.spec
    if len(spec.shape) != 4 or spec.shape[0] < 2:
        raise UsageError(f"feature extractor own-frames needs clips of two frames or more, got arrays of {spec.shape}")
    network = Headed(HEAD)

    def batches(n: int) -> Mapping[str, np.ndarray]:
        x = batch_at(known, n, batch_size=min(BATCH, len(known)), seed=0)["x"]
        order = np.random.default_rng([0, n]).permuted(np.tile(np.arange(x.shape[1]), (len(x), 1)), axis=1)
        return {"x": np.concatenate([x[np.arange(len(x)), order[:, side]] for side in (0, 1)])}

    def shown(batch: Mapping[str, Array], key: Key) -> Mapping[str, Array]:
        return {"x": shifts(unit_range(batch["x"], spec), key)}

    def make() -> Mapping[str, np.ndarray]:
        return flat(
            train(network, batches, shown, lambda out, _: contrast(out), name="own-frames", steps=steps, rate=RATE)
        )

    weights = kept("own-frames", [VERSION, steps], known, make)
    variables = deep(weights)

    def apply(x: Float[Array, "b t h w c"]) -> Mapping[str, Float[Array, "b _"]]:
        b, t, *frame = x.shape
        found = network.apply(variables, unit_range(x.reshape(b * t, *frame), spec), False)[0]
        return {"features": found.reshape(b, -1)}

    return Extractor("own-frames", VERSION, "frame by frame, not resized, as -1 to 1", apply, weights)
