"""Features of clips that see motion: a net trained to tell clips from what is wrong in time, and their classes.

A classifier of the labels alone need not look at time, and does not: on moving shapes it finds clips and their shuffled
frames alike. This net (`clip_network.py`) answers up to three questions at once: whether a clip is as it is, stands
still or has its frames in another order (no labels are needed for that); the data's labels; and the classes under the
key "motion", where the data have them. Features are what all of them are answered by.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from genjax_art.data.batches import batch_indices, to_range
from genjax_art.data.contract import Source
from genjax_art.errors import UsageError
from genjax_art.features.clip_network import Clips
from genjax_art.features.extractor import Extractor, is_labelled
from genjax_art.features.kept import kept
from genjax_art.features.network import as_it_is, deep, flat, train, unit_range
from genjax_art.features.own_classifier import MOST, calibrated
from genjax_art.metrics.stream import evenly
from genjax_art.spec import Key

VERSION = 1
BATCH, RATE = 32, 2e-3
ORDERS = 3  # as it is, standing still, shuffled
LOGITS = {"label": "logits", "motion": "motion_logits"}


def build(known: Source, held: Source, *, steps: int = 600) -> Extractor:
    """Features, and logits of the classes of the labels and ("motion_logits") of motion, where the data have them.

    Args:
      steps: of its training, on 32 clips each, half of them as they are.

    Raises:
      UsageError: examples that are no clips, or are of one frame.
    """
    spec, example = known.spec, known.take(np.arange(1))
    if len(spec.shape) != 4 or spec.shape[0] < 2:
        raise UsageError(f"feature extractor own-clips needs clips of two frames or more, got arrays of {spec.shape}")
    classes = {"label": len(spec.classes)} if is_labelled(known) else {}
    if "motion" in example:
        classes["motion"] = _count(known)
    names, sizes = ("order", *classes), (ORDERS, *classes.values())
    ends = dict(
        zip(names, zip(np.cumsum((0, *sizes[:-1])).tolist(), np.cumsum(sizes).tolist(), strict=True), strict=True)
    )
    network = Clips(sum(sizes))

    def part(out: Any, name: str) -> Float[Array, "b c"]:
        begin, end = ends[name]
        return out[:, begin:end]

    def shown(batch: Mapping[str, Array], key: Key) -> Mapping[str, Array]:
        x, order = in_wrong_order(unit_range(batch["x"], spec), key)
        return {**batch, "x": x, "order": order}

    def loss(out: Float[Array, "b o"], batch: Mapping[str, Array]) -> Float[Array, ""]:
        own = (batch["order"] == 0).astype(out.dtype)  # of classes only clips as they are can be asked
        found = [optax.softmax_cross_entropy_with_integer_labels(part(out, name), batch[name]) for name in names]
        return jnp.mean(found[0]) + sum(jnp.sum(own * one) / jnp.sum(own) for one in found[1:])

    def batches(n: int) -> Mapping[str, np.ndarray]:
        rows = known.take(batch_indices(len(known), batch_size=min(BATCH, len(known)), seed=0, n=n))
        return {"x": to_range(rows["x"], spec), **{name: rows[name] for name in classes}}

    def make() -> Mapping[str, np.ndarray]:
        return flat(train(network, batches, shown, loss, name="own-clips", steps=steps, rate=RATE))

    weights = kept("own-clips", [VERSION, steps], known, make)
    variables = deep(weights)

    def apply(x: Float[Array, "b t h w c"]) -> Mapping[str, Float[Array, "b _"]]:
        features, out = network.apply(variables, unit_range(x, spec), False)
        logits = {name: part(out, key) for key, name in LOGITS.items() if key in classes}
        return {"features": features, **logits}

    extractor = Extractor("own-clips", VERSION, as_it_is(spec), apply, weights)
    if "label" not in classes:
        return extractor
    return calibrated(extractor, held)


def _count(known: Source) -> int:
    """Classes of motion, which are numbered from 0."""
    return int(known.take(evenly(len(known), MOST))["motion"].max()) + 1


def in_wrong_order(x: Float[Array, "b t h w c"], key: Key) -> tuple[Float[Array, "b t h w c"], Int[Array, " b"]]:
    """Of every four clips two as they are, one standing still at a random frame, one with its frames shuffled; and
    which: 0, 1, 2."""
    b, t = x.shape[:2]
    still, shuffle = jax.random.split(key)
    order = jnp.maximum(jnp.arange(b) % 4 - 1, 0)
    one = jnp.broadcast_to(jax.random.randint(still, (b, 1), 0, t), (b, t))
    other = jax.vmap(lambda k: jax.random.permutation(k, t))(jax.random.split(shuffle, b))
    choices = jnp.stack([jnp.broadcast_to(jnp.arange(t), (b, t)), one, other])
    places = jnp.take_along_axis(choices, order[None, :, None], 0)[0]
    return jnp.take_along_axis(x, places.reshape(b, t, 1, 1, 1), 1), order
