"""A feature extractor of clips in one file, in the place of an I3D: clips are brought to its frames and size first.

Only the weights of the published network give figures that may be called FVD: name yours so in `called`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.features.extractor import Extractor


def extractor(known, held, *, frames: int = 10, side: int = 12):
    """Random features of clips of `frames` frames of `side` pixels.

    Args:
      frames: to which clips are brought, evenly chosen.
      side: to which frames are brought, bilinear.
    """
    del held
    spec = known.spec
    weights = {"kernel": np.random.default_rng(0).normal(size=(frames * side**2 * 3, 8)).astype(np.float32)}

    def apply(x):
        chosen = np.rint(np.linspace(0, x.shape[1] - 1, frames)).astype(int)
        unit = (x[:, chosen] - spec.low) * (2 / (spec.high - spec.low)) - 1
        seen = jax.image.resize(unit, (len(x), frames, side, side, x.shape[-1]), "linear")
        seen = jnp.broadcast_to(seen, (*seen.shape[:-1], 3)) if x.shape[-1] == 1 else seen
        moved = jnp.tanh(jnp.diff(seen, axis=1, prepend=seen[:, :1]) * 3)
        return {"features": moved.reshape(len(x), -1) @ weights["kernel"] / 10}

    rule = f"{frames} frames, {side}x{side}, bilinear, as -1 to 1"
    return Extractor("little-i3d", 1, rule, apply, weights, called={"FD": "FVD"})
