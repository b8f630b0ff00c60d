"""Sources: random access to examples, in memory. The contract that every data set fulfils."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped
from numpy.typing import DTypeLike

from genjax_art.errors import RunError
from genjax_art.spec import ArraySpec

PIECE = 4096  # examples that are read at once where all of a set are


class DataError(RunError):
    """What is wrong with the data that was asked for, in one line: the offender, the choices, the remedy."""


class NoSplit(DataError):
    """The set has no such split. Raise it from `build` of a set of your own, so that others can be tried."""

    def __init__(self, name: str, split: str, known: Iterable[str]) -> None:
        super().__init__(f"{name} has no split {split!r}: choose from {', '.join(known)}")


@runtime_checkable
class Source(Protocol):
    """A finite set of examples with random access.

    `take(indices)` gathers rows: "x" ([n, *spec.shape], uint8 or float32), "label" (int32 [n], an index into
    `spec.classes`) where there are labels, and whatever else is known of an example (ground-truth factors:
    one number each).  uint8 means that 0 and 255 are the ends of the spec's range: see `batches.to_range`.
    """

    @property
    def spec(self) -> ArraySpec: ...

    def __len__(self) -> int: ...

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A source whose examples lie in arrays, one row each (memory-mapped or not)."""

    spec: ArraySpec
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    def __post_init__(self) -> None:
        x = self.arrays["x"]
        if x.shape[1:] != self.spec.shape:
            raise DataError(f"x has examples of shape {x.shape[1:]}, but the spec says {self.spec.shape}")
        if x.dtype not in (np.uint8, np.float32):
            raise DataError(f"x has dtype {x.dtype}: convert it to uint8 (0 to 255) or float32 (in range)")
        if len(x) == 0:
            raise DataError("x holds no examples")
        for name, array in self.arrays.items():
            if len(array) != len(x):
                raise DataError(f"{name} has {len(array)} rows, but x has {len(x)}")
        if "label" in self.arrays and self.arrays["label"].dtype != np.int32:
            raise DataError(f"label has dtype {self.arrays['label'].dtype}: convert it to int32")

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def take(self, indices: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        return {name: array[indices] for name, array in self.arrays.items()}


def array_source(
    x: Shaped[np.ndarray, "n *shape"],
    label: Int[np.ndarray, " n"] | None = None,
    *,
    classes: tuple[str, ...] = (),
    kind: str = "image",
    low: float = -1.0,
    high: float = 1.0,
) -> ArraySource:
    """A source over your own arrays: uint8 (0 to 255), or float32 within [`low`, `high`]; channels last.

    `label` holds indices into `classes`; without `classes` the labels are named "0", "1", ...
    Raises DataError where the arrays and the description disagree.
    """
    if x.dtype == np.float32 and x.size and not (low <= x.min() and x.max() <= high):
        raise DataError(
            f"x spans [{x.min():g}, {x.max():g}], outside [{low:g}, {high:g}]: rescale it or pass low, high"
        )
    arrays = {"x": x}
    if label is not None:
        classes = classes or tuple(str(i) for i in range(int(label.max(initial=-1)) + 1))
        if label.size and not (label.min() >= 0 and label.max() < len(classes)):
            raise DataError(f"labels span [{label.min()}, {label.max()}], but there are {len(classes)} classes")
        arrays["label"] = label.astype(np.int32)
    return ArraySource(ArraySpec(tuple(x.shape[1:]), low, high, kind, classes), arrays)


def synthetic_source(spec: ArraySpec, length: int, seed: int, dtype: DTypeLike = np.float32) -> ArraySource:
    """Uniform noise that fits `spec`, for tests, as uint8 or float32."""
    rng = np.random.default_rng(seed)
    shape = (length, *spec.shape)
    if np.dtype(dtype) == np.uint8:
        x = rng.integers(0, 256, shape, dtype=np.uint8)
    else:
        x = rng.uniform(spec.low, spec.high, shape).astype(np.float32)
    arrays = {"x": x}
    if spec.classes:
        arrays["label"] = rng.integers(0, len(spec.classes), length, dtype=np.int32)
    return ArraySource(spec, arrays)


def pieces(
    source: Source, index: Int[np.ndarray, " n"] | None = None, most: int = PIECE
) -> Iterator[dict[str, np.ndarray]]:
    """Those examples, or all, in their order: at most so many at once."""
    index = np.arange(len(source)) if index is None else index
    for part in np.array_split(index, -(-len(index) // most)):
        yield source.take(part)


def labels_of(source: Source, index: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"] | None:
    """The labels of those examples, whose other entries are let go of piece by piece; None where there are none."""
    found = [rows.get("label") for rows in pieces(source, index)]
    labels = [label for label in found if label is not None]
    return np.concatenate(labels) if len(labels) == len(found) else None
