"""What a medium is: how arrays of one kind become files that other programs open, and files become arrays.

`media/<kind>.py` offers one as `MEDIUM`; `spec.kind` names it. Whoever needs to know what an array is asks it here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from genjax_art import media, parts
from genjax_art.errors import RunError, UsageError
from genjax_art.files import printable
from genjax_art.media.arrays import write_arrays
from genjax_art.spec import ArraySpec


@dataclass(frozen=True)
class Reading:
    """A file of the user's as one array in the spec's range.

    Of a medium with time `whole` is [time, ...], as long as the file is; else it has the shape of an example. `rate` is
    its tempo or frames per second, where it has one.
    """

    name: str
    whole: Float[np.ndarray, "..."]
    rate: float | None = None


# write(out, x, spec, about, *, options) -> paths: examples [n, *shape] as the ending of `out` asks. Its keyword-only
# arguments are options of the user's. An ending that it does not know is a UsageError that names those it knows.
Write = Callable[..., list[Path]]


@dataclass(frozen=True)
class Medium:
    """The functions and names of one medium."""

    write: Write
    sheet: Callable[[np.ndarray, ArraySpec], UInt8[np.ndarray, "h w c"]]  # all examples as one picture, for a log
    samples: tuple[str, ...]  # endings of the files of samples where the user names none
    walk: tuple[str, ...]  # the same of a walk through latents
    metrics: tuple[str, ...] = ()  # names of the measures that `evaluate` takes where none is named
    scores: tuple[str, ...] = ("sliced_wasserstein", "kd_own")  # of those of `--best-by` that it has, the usual first
    judged: int = 1000  # samples that it draws for them where no number is given
    features: str | None = None  # the extractor that it takes where none is named; None: by whether there are labels
    # (x in [-1, 1], key) -> x: a random change, example by example, that leaves each what it is, style included; own
    # features are trained to overlook it. None: small shifts.
    alike: Callable[[Any, Any], Any] | None = None
    frames: int = 24  # of a walk, from one sample to the next
    reads: str = "file"  # what its files are called on the command line: `--midi`
    # read(file, spec, *, options) -> Reading. Its options are those of a data set of files, by their names, so that the
    # user's file is read as those were that the run was trained on.
    read: Callable[..., Reading] | None = None
    # several wholes, as the ending of `out` asks, one after another in one file or each for itself:
    # (out, wholes, spec, about, rate, in_one, **options of `write`) -> paths. None: they are examples.
    write_wholes: Callable[..., list[Path]] | None = None
    unit: int | None = None  # steps of time (the first axis) that are counted as one; None: there is no time
    unit_name: str = ""  # what those are: "bars"
    stays: bool = False  # whether the last step stays where a whole is filled up with more; else silence follows


def find_medium(kind: str) -> Medium:
    """The medium of arrays of that kind.

    Raises:
      UsageError: there is none.
    """
    found: Any = parts.find(media, kind, kind="medium", function="MEDIUM")
    if not isinstance(found, Medium):
        raise UsageError(f"medium {kind} must be a genjax_art.media.medium.Medium, not a {type(found).__name__}")
    return found


def write(
    out: Path,
    x: Float[np.ndarray, "n *shape"],
    spec: ArraySpec,
    about: Mapping[str, str],
    labels: np.ndarray | None = None,
    **options: Any,
) -> list[Path]:
    """Writes examples as the ending of `out` asks: `.npz` the arrays, labels among them; else as the medium does.

    Raises:
      ValueError: x not of the spec's shape.
      UsageError: an ending that the medium does not write.
    """
    if x.shape[1:] != spec.shape:
        raise ValueError(f"x of shape {x.shape} is no batch of {spec.kind} {spec.shape}")
    about = _printable(about)
    if _as_arrays(out):
        write_arrays(out, x, spec, about, labels)
        return [out]
    return find_medium(spec.kind).write(out, x, spec, about, **options)


def sheet(x: Float[np.ndarray, "n *shape"], spec: ArraySpec) -> UInt8[np.ndarray, "h w c"]:
    """All examples as one picture."""
    return find_medium(spec.kind).sheet(x, spec)


def read(file: Path, spec: ArraySpec, known: Mapping[str, Any] | None = None) -> Reading:
    """A file of the user's as an array; of `known`, how files of the kind were read before, what the medium asks for.

    Raises:
      RunError: a medium that reads no files; or as the medium does.
    """
    medium = find_medium(spec.kind)
    if medium.read is None:
        raise RunError(f"a run on arrays of kind {spec.kind} reads no files: choose one on pictures or music")
    asked = parts.options(medium.read)
    return medium.read(file, spec, **{name: value for name, value in (known or {}).items() if name in asked})


def write_wholes(
    out: Path,
    wholes: Sequence[np.ndarray],
    spec: ArraySpec,
    about: Mapping[str, str],
    *,
    rate: float | None,
    in_one: bool,
    **options: Any,
) -> list[Path]:
    """Writes arrays as long as `Reading.whole`, one after another in one file (`in_one`) or each for itself; to `.npz`
    as one example [1, time, ...], or one of each, which are of one length then."""
    medium = find_medium(spec.kind)
    if medium.write_wholes is None:
        return write(out, np.stack(wholes), spec, about, **options)
    if _as_arrays(out):
        x = np.concatenate(wholes)[None] if in_one else np.stack(wholes)
        write_arrays(out, x, replace(spec, shape=x.shape[1:]), _printable(about))
        return [out]
    return medium.write_wholes(out, wholes, spec, _printable(about), rate, in_one, **options)


def _as_arrays(out: Path) -> bool:
    return out.suffix.lower() == ".npz" and not out.is_dir()


def _printable(about: Mapping[str, str]) -> dict[str, str]:
    """Metadata that every format holds: names of files may have bytes that are no text."""
    return {key: printable(value) for key, value in about.items()}


def windows(whole: np.ndarray, spec: ArraySpec) -> Float[np.ndarray, "n *shape"]:
    """A whole as examples: of a medium with time one after another, the last one filled up with its last step or with
    the lowest value, as is the medium's way."""
    if whole.shape == spec.shape:
        return whole[None]
    left = [(0, -len(whole) % spec.shape[0])] + [(0, 0)] * (whole.ndim - 1)
    if find_medium(spec.kind).stays:
        return np.pad(whole, left, mode="edge").reshape(-1, *spec.shape)
    return np.pad(whole, left, constant_values=np.float32(spec.low)).reshape(-1, *spec.shape)


def whole_of(x: Float[np.ndarray, "n *shape"], length: int, spec: ArraySpec) -> np.ndarray:
    """The inverse of `windows`: so many steps of time of the examples one after another; the one example else."""
    return x[0] if find_medium(spec.kind).unit is None else x.reshape(-1, *spec.shape[1:])[:length]
