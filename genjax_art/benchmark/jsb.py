"""Likelihood of the JSB chorales: python -m genjax_art.benchmark jsb --folder DIR [--steps 600] [--json FILE]

Protocol of Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392): quarter notes, 229 / 76 / 77 pieces, 88 keys; the
negative log-likelihood of a step given all steps before it in the piece, in nats, averaged over all steps of the test
pieces. The step that is best on the validation pieces is tested, once. Training pieces are transposed by -5 to +6
semitones, at random, the others not at all; the published models need not have had transposed pieces. TonicNet's 0.220
(arXiv:1911.11775) is no such figure: it counts per token (chord, then four voices) on a grid of sixteenths.

The model is a GRU over time. Given its state, a step's keys are predicted from high to low and then an end: there is
one such order for every set of keys, so the product of these probabilities is the likelihood of the set itself.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from genjax_art.data.sets.jsb import KEYS, quarter_rolls
from genjax_art.models.recurrent import GRU
from genjax_art.options import parse
from genjax_art.spec import Batch, Params
from genjax_art.train.compile import compile_step
from genjax_art.train.player import Player
from genjax_art.train.process import prepare_process
from genjax_art.train.state import create_state
from genjax_art.train.step import make_step

END = KEYS  # the token after a step's lowest key
BEATS = 4
# nats per step on the test pieces, of other models
PUBLISHED: Mapping[str, float] = {
    "GRU, keys independent (arXiv:1412.3555)": 8.54,
    "TCN, keys independent (arXiv:1803.01271)": 8.10,
    "deep Markov model (arXiv:1609.09869)": 6.39,
    "RNN-NADE (arXiv:1206.6392; 5.19 in later lists)": 5.56,
}


@dataclass(frozen=True)
class Command:
    """Train a small autoregressive model on the JSB chorales and print its likelihood."""

    folder: Path
    """Where the JSON files of the JSB-Chorales-dataset lie."""
    steps: int = 600
    """Training steps, of 32 pieces each."""
    width: int = 256
    """Of the GRU and the hidden layer."""
    dropout: float = 0.4
    """Of the GRU's input and output."""
    seed: int = 0
    """Of parameters, order and transpositions."""
    json: Path | None = None
    """Write the numbers there too."""


class Chords(nn.Module):
    width: int
    dropout: float

    @nn.compact
    def __call__(self, keys: Float[Array, "b t k"], slots: int, train: bool) -> Float[Array, "b t"]:
        """-log p of each step's keys given the steps before, nats; for at most `slots` - 1 keys at once."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        before = jnp.pad(keys[:, :-1], ((0, 0), (1, 0), (0, 0)))
        beat = jax.nn.one_hot(jnp.arange(keys.shape[1]) % BEATS, BEATS)
        x = jnp.concatenate([before, jnp.broadcast_to(beat[None], (*keys.shape[:2], BEATS))], -1)
        x = drop(nn.relu(nn.Dense(self.width)(x)))
        state = drop(GRU(self.width)(x, jnp.zeros((len(x), self.width))))
        known, last, target = orders(keys, slots)
        seen = jnp.concatenate([known, jax.nn.one_hot(last, END + 1)], -1)
        h = nn.Dense(self.width)(state)[:, :, None] + nn.Dense(self.width, use_bias=False)(seen)
        h = h + nn.Dense(self.width, use_bias=False)(jnp.broadcast_to(before[:, :, None], known.shape) * (1.0 - known))
        logits = nn.Dense(END + 1)(nn.relu(h))
        number = jnp.arange(END + 1).reshape(1, 1, 1, -1)
        possible = (number < last[..., None]) | (number == END)  # a key below the last one, or the end
        nats = optax.softmax_cross_entropy_with_integer_labels(
            jnp.where(possible, logits, -1e9), jnp.maximum(target, 0)
        )
        return jnp.sum(jnp.where(target < 0, 0.0, nats), -1)


def orders(
    keys: Float[Array, "b t k"], slots: int
) -> tuple[Float[Array, "b t s k"], Int[Array, "b t s"], Int[Array, "b t s"]]:
    """What is known of a step before each of its `slots`: the keys, the last of them; and the target: -1 after the end.

    Before the first slot the last key is 88, above all keys.
    """
    rank = jnp.cumsum(keys[..., ::-1], -1)[..., ::-1]  # 1 for the highest key that sounds
    slot = jnp.arange(slots, dtype=keys.dtype).reshape(1, 1, -1, 1)
    sounds = keys[:, :, None] > 0
    known = sounds & (rank[:, :, None] <= slot)
    is_target = sounds & (rank[:, :, None] == slot + 1)
    number = jnp.arange(KEYS, dtype=jnp.int32).reshape(1, 1, 1, -1)
    target = jnp.sum(is_target.astype(jnp.int32) * number, -1)
    left = jnp.sum(keys, -1)[:, :, None] - slot[..., 0]  # keys that are still to be predicted
    target = jnp.where(left > 0, target, jnp.where(left == 0, END, -1))
    last = jnp.min(jnp.where(known, number, KEYS), -1)
    return known.astype(keys.dtype), last, target


def padded(pieces: Sequence[Bool[np.ndarray, "_ 88"]]) -> tuple[Float[np.ndarray, "n t 88"], Bool[np.ndarray, "n t"]]:
    """The pieces in one array, and which steps are theirs."""
    longest = max(map(len, pieces))
    keys = np.stack([np.pad(piece, ((0, longest - len(piece)), (0, 0))) for piece in pieces]).astype(np.float32)
    return keys, np.arange(longest) < np.asarray([len(piece) for piece in pieces])[:, None]


def fit(command: Command, pieces: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    """Trains and tests; the numbers of the benchmark."""
    slots = max(int(piece.sum(1).max()) for part in pieces.values() for piece in part) + 1
    model, rng, began = Chords(command.width, command.dropout), np.random.default_rng(command.seed), time.monotonic()
    data = {split: padded(part) for split, part in pieces.items()}
    x, mask = data["train"]
    params = model.init(jax.random.key(command.seed), jnp.asarray(x[:1]), slots, False)

    def mean_nats(params: Any, batch: Batch, key: Array | None) -> Array:
        rngs = {} if key is None else {"dropout": key}
        nats: Any = model.apply(params, batch["x"], slots, key is not None, rngs=rngs)
        return jnp.sum(nats * batch["mask"]) / jnp.sum(batch["mask"])

    def loss(own: Params, others: Any, extras: Any, batch: Batch, key: Array) -> Any:
        del others
        return mean_nats(own, batch, key), ({}, extras)

    def held_out(split: str, params: Any) -> float:
        x, mask = data[split]
        return float(score(params, {"x": x, "mask": mask.astype(np.float32)}))

    players = (Player("chords", loss, optax.adam(optax.cosine_decay_schedule(3e-3, command.steps))),)
    run = compile_step(make_step(players), "jit")
    state = run.put_state(create_state(players, {"chords": params}, seed=command.seed))
    score = jax.jit(lambda params, batch: mean_nats(params, batch, None))
    best: tuple[float, int, Any] = (np.inf, 0, params)
    for i in range(1, command.steps + 1):
        rows = rng.integers(len(x), size=32)
        moved = np.stack([np.roll(x[row], rng.integers(-5, 7), -1) for row in rows])  # no key is near an end
        state, _ = run.step(state, run.put_batch({"x": moved, "mask": mask[rows].astype(np.float32)}))
        if i % 50 == 0 or i == command.steps:
            params = jax.device_get(state.params["chords"])  # the next step reuses what is on the device
            best = min(best, (held_out("validation", params), i, params), key=lambda b: b[0])
            print(f"step {i}: best on validation {best[0]:.3f} at step {best[1]}", flush=True)
    return {
        "test_nats_per_step": held_out("test", best[2]),
        "validation_nats_per_step": best[0],
        "best_step": best[1],
        "parameters": sum(p.size for p in jax.tree.leaves(params)),
        "seconds": time.monotonic() - began,
    }


def main(arguments: Sequence[str]) -> None:
    command = parse(Command, arguments, "python -m genjax_art.benchmark jsb")
    prepare_process()
    numbers = fit(command, quarter_rolls(command.folder))
    rows = {**PUBLISHED, f"here: GRU, keys from high to low, {numbers['parameters']:,} parameters": 0.0}
    for name, nats in rows.items():
        print(f"{name:<60} {nats or numbers['test_nats_per_step']:.3f}")
    print(" ".join((__doc__ or "").split("\n\n")[1].split()))
    if command.json is not None:
        command.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
