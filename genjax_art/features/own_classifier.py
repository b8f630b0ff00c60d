"""A classifier of the data's own labels: features of the classes, and probabilities of them.

A small residual net (`network.py`), trained on the training data's labels by a fixed recipe, kept in the cache folder.
It is shown examples moved, blurred and with noise: one that has seen clean edges only finds the class by them, and says
nothing of samples that are not quite sharp. Its logits are calibrated on held-out data.
"""

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from genjax_art.data.batches import batch_at, to_range
from genjax_art.data.contract import Source
from genjax_art.errors import RunError
from genjax_art.features.extractor import Extractor, is_labelled
from genjax_art.features.kept import kept
from genjax_art.features.network import Headed, as_it_is, check_space, deep, flat, shifts, train, unit_range, worn
from genjax_art.metrics.classes import temperature
from genjax_art.metrics.stream import evenly
from genjax_art.spec import Key

VERSION = 2
BATCH, RATE = 64, 2e-3
MOST = 10_000  # held-out examples that it is tested on


def build(known: Source, held: Source, *, steps: int = 1500) -> Extractor:
    """Features and classes by a net trained on the labels.

    Args:
      steps: of its training, on 64 examples each.

    Raises:
      RunError: data without labels. UsageError: points.
    """
    spec = known.spec
    if not is_labelled(known):
        raise RunError("own-classifier needs data with labels of two classes or more: take --features own-contrastive")
    check_space(spec, "own-classifier")
    network = Headed((len(spec.classes),))

    def shown(batch: Mapping[str, Array], key: Key) -> Mapping[str, Array]:
        moved, changed = jax.random.split(key)
        return {**batch, "x": worn(shifts(unit_range(batch["x"], spec), moved), changed)}

    def loss(logits: Float[Array, "b c"], batch: Mapping[str, Array]) -> Float[Array, ""]:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]))

    def make() -> Mapping[str, np.ndarray]:
        def batches(n: int) -> Mapping[str, np.ndarray]:
            return batch_at(known, n, batch_size=BATCH, seed=0)

        return flat(train(network, batches, shown, loss, name="own-classifier", steps=steps, rate=RATE))

    weights = kept("own-classifier", [VERSION, steps], known, make)
    variables = deep(weights)

    def apply(x: Float[Array, "b *shape"]) -> Mapping[str, Float[Array, "b _"]]:
        found, logits = network.apply(variables, unit_range(x, spec), False)
        return {"features": found, "logits": logits}

    return calibrated(Extractor("own-classifier", VERSION, as_it_is(spec), apply, weights), held)


def calibrated(extractor: Extractor, held: Source) -> Extractor:
    """A classifier with its accuracy on held-out examples, and the temperature at which their labels are likeliest."""
    rows = held.take(evenly(len(held), MOST))
    logits, labels = extractor.of(to_range(rows["x"], held.spec))["logits"], rows["label"]
    right = float(np.mean(logits.argmax(1) == labels))
    return replace(extractor, accuracy=right, temperature=temperature(logits, labels))
