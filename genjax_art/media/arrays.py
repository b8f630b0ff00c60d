"""Examples of any kind as numbers: NPZ arrays that NumPy reads without pickle."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from genjax_art.files import replacing
from genjax_art.spec import ArraySpec


def write_arrays(
    out: Path,
    x: Float[np.ndarray, "n *shape"],
    spec: ArraySpec,
    metadata: Mapping[str, str],
    labels: Int[np.ndarray, " n"] | None = None,
) -> None:
    """`x` as float32 in the spec's units (neither clipped nor decoded), `low`, `high`, each metadata entry as a string.

    With labels also `label` [n], numbers of the `classes` [k], the names. The same input gives the same bytes.

    Raises:
      ValueError: `x` not of the spec's shape, or metadata with the name of an array.
    """
    if x.shape[1:] != spec.shape:
        raise ValueError(f"x of shape {x.shape} is no batch of {spec.kind} {spec.shape}")
    arrays = {"x": x.astype(np.float32), "low": np.asarray(spec.low), "high": np.asarray(spec.high)}
    if labels is not None:
        arrays |= {"label": labels, "classes": np.asarray(spec.classes)}
    if taken := sorted(arrays.keys() & metadata.keys()):
        raise ValueError(f"metadata {taken[0]!r} has the name of an array of the .npz: rename it")
    write_npz(out, arrays | {key: np.asarray(value) for key, value in sorted(metadata.items())})


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An uncompressed NPZ, written entry by entry, because np.savez leaves the time stamp of an entry to zipfile."""
    with replacing(path) as part, zipfile.ZipFile(part, "w") as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
            entry.create_system = 3  # Unix, wherever it is written
            with file.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
