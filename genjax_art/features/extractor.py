"""What a feature extractor is: examples of a medium as vectors in which distances mean something.

`features/<name>.py` with `build(known, held, *, options) -> Extractor` is one; so is `my_module:extractor`. `known` is
the training data, `held` data that no model has seen.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from genjax_art import features, parts, sampling
from genjax_art.data.contract import Source
from genjax_art.errors import UsageError
from genjax_art.media.medium import find_medium
from genjax_art.parts import is_outside

# a batch in the spec's range to {"features": [b, d]}, and "logits" [b, classes] of an extractor that classifies
Apply = Callable[[Float[Array, "b *shape"]], Mapping[str, Float[Array, "b _"]]]

PRODUCTS = "highest"  # of all products, so that figures of a GPU and of a CPU are of the same features


@dataclass(frozen=True, eq=False)
class Extractor:
    """A function of batches with all that its figures depend on."""

    name: str
    version: int
    """Another recipe has another version."""
    resize: str
    """In words: the size and range that examples are brought to, and by which rule."""
    apply: Apply
    """Traceable by JAX, example by example: no example's features depend on another one."""
    weights: Mapping[str, np.ndarray]
    """All numbers that `apply` depends on."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Names of figures that everybody knows, as {"FD": "FID"}; those of own features are called FD-own."""
    classes: str = "labels"
    """What its logits tell apart: the data's "labels", in their order, or else the name of other classes; of those
    only an Inception Score is taken."""
    accuracy: float | None = None
    """On held-out data, of one that classifies."""
    temperature: float = 1.0
    """Of its logits: that at which held-out labels are likeliest."""

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits of all that figures depend on."""
        found = hashlib.sha256(f"{self.name}\0{self.version}\0{self.resize}".encode())
        for name, array in sorted(self.weights.items()):
            found.update(f"{name}{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:12]

    @cached_property
    def step(self) -> Apply:
        def exact(x: Float[Array, "b *shape"]) -> Any:  # what an extractor from outside gives is checked later
            with jax.default_matmul_precision(PRODUCTS):
                return self.apply(x)

        return jax.jit(exact)

    def figure(self, kind: str) -> str:
        """What a figure that has its meaning from the features is called: FD-own, or FID of Inception v3."""
        return self.called.get(kind, f"{kind}-own")

    def of(self, x: Float[np.ndarray, "n *shape"]) -> dict[str, Float[np.ndarray, "n _"]]:
        """Features (and logits) of examples in the spec's range, some at a time.

        Raises:
          UsageError: what an extractor from outside gives is no matrix of finite numbers.
        """
        found: dict[str, np.ndarray] = sampling.in_chunks(self.step, x)
        for name, rows in found.items():
            if rows.ndim != 2 or len(rows) != len(x) or not np.isfinite(rows).all():
                raise UsageError(
                    f"extractor {self.name} gives {name} of shape {rows.shape} for {len(x)} examples, or numbers that "
                    "are not finite: it must give one vector of finite numbers each"
                )
        return found


def find_extractor(name: str) -> parts.Part:
    """The builder of an extractor: one of ours (own-classifier or own_classifier), or `my_module:extractor`.

    Raises:
      UsageError: there is none.
    """
    ours = name if is_outside(name) else name.replace("-", "_")
    return parts.find(features, ours, kind="feature extractor")


def build_extractor(name: str, known: Source, held: Source, **options: Any) -> Extractor:
    """The extractor of that name for these data.

    Raises:
      UsageError: there is none, it does not have such an option, or it gives something else.
      RunError: it cannot be had for these data.
    """
    part = find_extractor(name)
    with jax.default_matmul_precision(PRODUCTS):
        built = part(known, held, **parts.complete(part, "feature extractor", name, options))
    if not isinstance(built, Extractor):
        raise UsageError(f"feature extractor {name} must return an Extractor, not a {type(built).__name__}")
    return built


def usual_extractor(known: Source) -> str:
    """The extractor taken where none is named: the medium's, or else by the labels, without them self-supervised, for
    points linear."""
    if not known.spec.space:
        return "pixels_pca64"
    if (of_medium := find_medium(known.spec.kind).features) is not None:
        return of_medium
    return "own_classifier" if is_labelled(known) else "own_contrastive"


def is_labelled(known: Source) -> bool:
    """Whether there are classes to be told apart."""
    return len(known.spec.classes) >= 2 and "label" in known.take(np.arange(1))
