"""Inception v3, by which FID, KID and Inception Scores are published, from a file of its weights.

The file is the well-known PyTorch checkpoint of the FID network (pt_inception-2015-12-05), or a .safetensors file with
the same names; neither comes with this package. Pictures are brought to whole levels first, since published tools see
files of 8 bits.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float

from genjax_art.data.contract import Source
from genjax_art.errors import RunError, UsageError
from genjax_art.features.extractor import Extractor
from genjax_art.features.inception_network import SIDE, InceptionV3
from genjax_art.features.network import deep
from genjax_art.features.safetensors_file import read_safetensors
from genjax_art.features.torch_file import read_torch
from genjax_art.files import printable
from genjax_art.spec import ArraySpec

VERSION = 1
PIECE = 25  # pictures at once: the first layers take about 20 MB each
RULE = f"{SIDE}x{SIDE}, bilinear of TensorFlow 1 from 8 bits, as -1 to 1"
# names of ours and of checkpoints
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def build(known: Source, held: Source, *, weights: Path) -> Extractor:
    """Features of the last pool, and logits of ImageNet's classes.

    Args:
      weights: the file, .pth or .safetensors.

    Raises:
      UsageError: data that are no pictures. RunError: a file that cannot be read, or is not of this network.
    """
    spec = known.spec
    if len(spec.shape) != 3 or spec.channels not in (1, 3, 4):
        raise UsageError(f"Inception v3 sees pictures of 1, 3 or 4 channels, not arrays of shape {spec.shape}")
    read = read_safetensors if weights.suffix == ".safetensors" else read_torch
    arrays = from_checkpoint(read(weights), weights)
    network, variables = InceptionV3(), deep(arrays)

    def some(x: Float[Array, "b h w c"]) -> Mapping[str, Float[Array, "b _"]]:
        found: Any = network.apply(variables, levels(x, spec))
        return found

    def apply(x: Float[Array, "b h w c"]) -> Mapping[str, Float[Array, "b _"]]:
        pieces = -(-len(x) // PIECE)
        size = -(-len(x) // pieces)
        filled = jnp.pad(x, ((0, pieces * size - len(x)), (0, 0), (0, 0), (0, 0)))
        found = jax.lax.map(some, filled.reshape(pieces, size, *x.shape[1:]))
        return {name: rows.reshape(pieces * size, -1)[: len(x)] for name, rows in found.items()}

    called = {"FD": "FID", "KD": "KID", "IS": "IS"}
    return Extractor("inception-v3", VERSION, RULE, apply, arrays, called=called, classes="ImageNet")


def levels(x: Float[Array, "b h w c"], spec: ArraySpec) -> Float[Array, "b h w 3"]:
    """The spec's range as whole levels of 0 to 255 in three channels, RGBA laid on white."""
    above = jnp.clip(x, spec.low, spec.high) - spec.low
    whole = jnp.floor(above * (255 / (spec.high - spec.low)) + 0.5)
    if spec.channels == 4:
        colour, alpha = whole[..., :3], whole[..., 3:]
        # the half keeps the quotient of whole numbers off the next one, however it is rounded
        whole = jnp.floor((colour * alpha + 255 * (255 - alpha) + 127.5) / 255)
    return jnp.broadcast_to(whole, (*whole.shape[:-1], 3))


def from_checkpoint(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The network's variables by path from a checkpoint's tensors by name; those that it does not have are left out.

    Raises:
      RunError: a tensor that is missing, of another shape, or no finite real numbers.
    """
    found, file = {}, printable(path)
    for ours, (name, shape) in places().items():
        if name not in tensors:
            raise RunError(f"{file} lacks {name}, of shape {shape}: take the weights of the FID network, 2015-12-05")
        array = tensors[name]
        if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
            raise RunError(f"{file} has {name} as {array.dtype} of shape {array.shape}, expected floats of {shape}")
        array = array.astype(np.float32)
        if not np.isfinite(array).all() or (ours.endswith("var") and (array < 0).any()):
            raise RunError(f"{file} has numbers in {name} that are not finite, or variances below 0")
        found[ours] = np.moveaxis(array, (0, 1), (-1, -2)) if ours.endswith("kernel") else array
    return found


@cache
def places() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Of each variable of the network, by path, the name and the shape in checkpoints, where outputs come first."""
    picture = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    found = {}
    for path, leaf in flatten_dict(jax.eval_shape(InceptionV3().init, jax.random.key(0), picture), sep="/").items():
        *modules, last = path.split("/")[1:]  # without the collection
        shape = (*leaf.shape[-1:], *leaf.shape[-2:-1], *leaf.shape[:-2])
        found[path] = ".".join([*modules, LEAVES[last]]), shape
    return found
