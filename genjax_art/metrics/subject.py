"""What a measure sees of a run: its samples, held-out and training data, and the run itself.

`metrics/<name>.py` with `measure(subject, *, options) -> {name: value}` is a measure; so is `my_module:measure`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from genjax_art.spec import ArraySpec


@runtime_checkable
class Examples(Protocol):
    """A data set: `take` gives rows by name, "x" among them."""

    def __len__(self) -> int: ...

    def take(self, indices: Int[np.ndarray, " n"]) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True)
class Subject:
    """`run` decodes and encodes (see `run.load.Run`); `in_range` makes floats in the spec's range of stored levels."""

    spec: ArraySpec
    made: Float[np.ndarray, "n ..."]
    held: Examples
    known: Examples
    in_range: Callable[[np.ndarray], np.ndarray]
    run: Any

    def some(self, data: Examples, n: int) -> Float[np.ndarray, "n ..."]:
        """n examples of a data set, evenly chosen, in the spec's range."""
        index = np.linspace(0, len(data) - 1, min(n, len(data))).astype(np.int64)
        return self.in_range(data.take(index)["x"])
