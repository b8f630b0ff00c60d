"""What a measure sees of a run: its samples, held-out and training data, and the run itself.

`metrics/<name>.py` with `measure(subject, *, options) -> {name: value}` is a measure; so is `my_module:measure`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from genjax_art.errors import UsageError
from genjax_art.metrics.seen import Seen, Sees
from genjax_art.metrics.stream import evenly
from genjax_art.spec import ArraySpec

Measure = Callable[..., dict[str, Any]]  # (subject, *, options) -> {name: a number, a word, a list of them, or a `Row`}


@runtime_checkable
class Examples(Protocol):
    """A data set: `take` gives rows by name, "x" among them."""

    def __len__(self) -> int: ...

    def take(self, indices: Int[np.ndarray, " n"]) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class Subject:
    """`run` decodes and encodes (see `run.load.Run`); `in_range` makes floats in the spec's range of stored levels."""

    spec: ArraySpec
    made: Float[np.ndarray, "n ..."]
    held: Examples
    known: Examples
    in_range: Callable[[np.ndarray], np.ndarray]
    run: Any
    look: Callable[[], Seen] | None = None
    """Samples and data as features; asked only where a measure looks, since an extractor may have to be trained."""
    extractors: Callable[[str], Sees] | None = None
    """Those of these data by name, for measures that ask a network of their own whatever the others look at."""
    seed: int = 0
    """Of the samples."""
    asked: Int[np.ndarray, " n"] | None = None
    """The label that each sample was asked for; None of a run that is not conditional."""
    _found: dict[Any, dict[str, Any]] = field(default_factory=dict, init=False)

    def some(self, data: Examples, n: int) -> Float[np.ndarray, "n ..."]:
        """n examples of a data set, evenly chosen, in the spec's range."""
        return self.in_range(data.take(evenly(len(data), n))["x"])

    @property
    def looked(self) -> bool:
        """Whether a measure has looked at features."""
        return "seen" in vars(self)

    @cached_property
    def seen(self) -> Seen:
        """Samples and data as features.

        Raises:
          UsageError: the measure needs features, and there is no extractor.
        """
        if self.look is None:
            raise UsageError(f"this measure looks at features: name what sees arrays of {self.spec.kind}, --features")
        return self.look()

    def own(self, name: str) -> Sees:
        """The extractor of that name, trained on these data.

        Raises:
          UsageError: there is nobody who could train one.
        """
        if self.extractors is None:
            raise UsageError(f"this measure asks {name}, and this subject has no extractors: measure a run by evaluate")
        return self.extractors(name)

    def once(self, measure: Measure) -> Mapping[str, Any]:
        """What a measure finds by its default options, computed once: reports read what others have measured."""
        if measure not in self._found:
            self._found[measure] = measure(self)
        return self._found[measure]
