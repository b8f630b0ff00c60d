"""Which file of this room writes which kind of array. A new medium adds its line here."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int, UInt8

from genjax_art.errors import UsageError
from genjax_art.media.arrays import write_arrays
from genjax_art.media.synth import Sound
from genjax_art.spec import ArraySpec

MODULES: Mapping[str, str] = {
    "image": "genjax_art.media.image",
    "roll": "genjax_art.media.music",
    "points": "genjax_art.media.points",
}


def _module(spec: ArraySpec) -> ModuleType:
    if spec.kind not in MODULES:
        raise ValueError(f"nothing here writes arrays of kind {spec.kind!r}; known: {', '.join(MODULES)}")
    return importlib.import_module(MODULES[spec.kind])


def write_samples(
    out: Path,
    x: Float[np.ndarray, "n *shape"],
    spec: ArraySpec,
    metadata: Mapping[str, str],
    labels: Int[np.ndarray, " n"] | None = None,
    sound: Sound | None = None,
) -> list[Path]:
    """Writes examples as the ending of `out` asks and returns the files.

    `.npz`: the arrays, labels among them (`arrays.py`); else see the medium's own `write_samples`. `sound` plays
    the WAV files of music (default: the built-in synthesiser).

    Raises:
      UsageError: a `sound` for anything else than music.
    """
    if sound is not None and spec.kind != "roll":
        raise UsageError(f"--soundfont plays music, and this run draws arrays of kind {spec.kind}: leave it out")
    if out.suffix.lower() == ".npz" and not out.is_dir():
        write_arrays(out, x, spec, metadata, labels)
        return [out]
    options = {} if sound is None else {"sound": sound}
    return _module(spec).write_samples(out, x, spec, metadata, **options)


def sheet(x: Float[np.ndarray, "n *shape"], spec: ArraySpec) -> UInt8[np.ndarray, "h w c"]:
    """All examples as one picture, for a log."""
    return _module(spec).sheet(x, spec)
