"""A small convolutional classifier of digits, trained where it is needed: the judge of Stacked MNIST.

Two 5x5 convolutions of stride 2 and a 3x3 one, each with batch norm, and one linear layer: within three passes over
MNIST it is right on more than 99 % of the test digits. Batches are shifted by up to two pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from genjax_art import sampling
from genjax_art.data.batches import batches, to_range
from genjax_art.data.contract import Source
from genjax_art.models.layers import BatchNorm, Conv
from genjax_art.spec import Batch, Params
from genjax_art.train.compile import compile_step
from genjax_art.train.loop import train
from genjax_art.train.player import Player
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

DIGITS = 10
JUDGE = "judge"  # the only player
SHIFT = 2  # pixels either way, of the training digits; set by hand, within the digits' margin


@dataclass(frozen=True)
class Judge:
    """`classes(x)` names the digits in pictures of the data's range; it is right on the share `accuracy` of others."""

    classes: Callable[[Float[np.ndarray, "n h w 1"]], Int[np.ndarray, " n"]]
    accuracy: float
    held_out: int  # how many digits, which it was not trained on, that share is of


class Classifier(nn.Module):
    widths: tuple[int, int, int] = (32, 64, 128)
    dropout: float = 0.25

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 1"], train: bool) -> Float[Array, "b classes"]:
        for width, kernel, stride in zip(self.widths, (5, 5, 3), (2, 2, 1), strict=True):
            x = nn.relu(BatchNorm()(Conv(width, kernel, stride, bias=False)(x), train))  # the norm takes a bias away
        x = nn.Dropout(self.dropout, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(DIGITS)(x)


CLASSIFIER = Classifier()


def fit_judge(
    digits: Source,
    held_out: Source,
    *,
    steps: int,
    batch_size: int = 128,
    model: Classifier = CLASSIFIER,
) -> Judge:
    """Trains on `digits` and tests on `held_out`, once."""
    first = model.init(jax.random.key(0), jnp.zeros((1, *digits.spec.shape)), False)
    statistics = {"batch_stats": first["batch_stats"]}
    rng = np.random.default_rng(0)

    def loss(own: Params, others: Any, extras: Any, batch: Batch, key: Array) -> Any:
        del others
        variables, rngs = {"params": own, **extras[JUDGE]}, {"dropout": key}
        logits, after = model.apply(variables, batch["x"], True, rngs=rngs, mutable=["batch_stats"])
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return jnp.mean(nats), ({}, {**extras, JUDGE: after})

    def shifted(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # digits have a margin of the background
        return {**batch, "x": np.roll(batch["x"], rng.integers(-SHIFT, SHIFT + 1, 2), (1, 2))}

    players = (Player(JUDGE, loss, optax.adam(optax.cosine_decay_schedule(2e-3, steps))),)
    compiled = compile_step(make_step(players), "jit")
    stream = batches(digits, batch_size=batch_size, seed=0)
    state = compiled.put_state(create_state(players, {JUDGE: first["params"]}, {JUDGE: statistics}))
    state = train(compiled, state, map(shifted, stream), steps=steps)
    stream.close()
    variables = {"params": state.params[JUDGE], **state.extras[JUDGE]}
    logits = jax.jit(lambda x: model.apply(variables, x, False))

    def classes(x: Float[np.ndarray, "n h w 1"]) -> Int[np.ndarray, " n"]:
        return sampling.in_chunks(logits, x).argmax(-1)

    rows = held_out.take(np.arange(len(held_out)))
    right = classes(to_range(rows["x"], held_out.spec)) == rows["label"]
    return Judge(classes, float(right.mean()), len(right))
