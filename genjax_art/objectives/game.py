"""The adversarial game's losses: each judge's, and the generator's against all of them.

Each loss is a sum of means: the adversarial pair, what the method adds, what the regularisers add. All of them are
functions of the round (`rounds.py`), so that any goes with any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.keys import fold
from genjax_art.latents import Latents
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.selection import top_share
from genjax_art.metrics.collapse import collapse
from genjax_art.models.packing import pack
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.memory import remember, step_of
from genjax_art.objectives.regularisers import OF_GENERATOR
from genjax_art.objectives.rounds import D, G, Round, Term, Update, apply
from genjax_art.objectives.rules import weighted
from genjax_art.shards import device_mean, global_normal
from genjax_art.spec import Batch, Key, Params

# normal, key, n -> z, a pytree with n rows in every leaf, of numbers that normal(key, shape) draws: the training gives
# `shards.global_normal`, which is the same in every parallel mode, sampling one of the spread that is asked for
DrawFrom = Callable[[Callable[..., Array], Key, int], Latents]
Metrics = Mapping[str, Float[Array, ""]]
LossResult = tuple[Float[Array, ""], tuple[Metrics, Mapping[str, Any]]]


def normal_latents(width: int) -> DrawFrom:
    """Latents [n, width] with independent standard normal entries."""
    return lambda normal, key, n: normal(key, (n, width))


@dataclass(frozen=True)
class Game:
    """A generator, (z, label, train) -> x with a field `classes` (0: unconditional), its judges, and its latents.

    Of several judges the first one's rules hold for the generator too: `generator_penalties`, `shared_latents`.
    """

    generator: nn.Module
    judges: tuple[Judge, ...]
    draw: DrawFrom

    def judge_loss(self, judge: Judge, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> LossResult:
        """What `judge` minimises: `own` are its parameters."""
        update, _ = self.update(own, others[G], extras[G], batch, key)
        round, own_extras = judge.round(update, own, extras, moves=True)
        assert round.of_real is not None
        pair = ADVERSARIAL[judge.rules.loss].discriminator(round.of_real["logits"], round.of_fake["logits"])
        added, metrics = added_by(judge.terms, round)
        held, paid = judge.penalties(round, extras[judge.name])
        after = {**extras, judge.name: own_extras}
        if round.memory:
            after[judge.memory] = remember(round.memory, round.of_real, round.of_fake, len(batch["x"]))
        return jnp.mean(pair) + added + held, ({**signals(round), **metrics, **paid}, after)

    def generator_loss(self, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> LossResult:
        """What the generator minimises: the weighted sum over the judges, and its penalties."""
        update, own_extras = self.update(own, own, extras[G], batch, key)
        total, metrics = jnp.zeros(()), dict[str, Array]()
        for judge in self.judges:
            if judge.weight:
                params = self.unrolled(judge, others[judge.name], own, extras, batch, key)
                round, _ = judge.round(update, params, extras, moves=False)
                value, found = against(judge, round)
                total = total + judge.weight * value
                metrics |= {metric_of(judge, name): metric for name, metric in found.items()}
        held, paid = self.generator_penalties(update, extras)
        return total + held, ({**metrics, **paid}, {**extras, G: own_extras})

    def update(
        self, own: Params, generator: Params, extras: Mapping[str, Any], batch: Batch, key: Key
    ) -> tuple[Update, Mapping[str, Any]]:
        """The fakes of an update, and the generator's new extras. `own`: of the player to move."""
        label = batch["label"] if self.generator.classes else None
        z = self.draw(global_normal, fold(key, "latents"), len(batch["x"]))

        def make(z: Latents) -> tuple[Array, Mapping[str, Any]]:
            return apply(self.generator, generator, extras, z, label)

        made, after = make(z)
        update = Update(own=own, batch=batch, label=label, z=z, made=made, make=lambda z: make(z)[0], key=key)
        return update, after

    def generator_penalties(self, update: Update, extras: Any) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The weighted sum of the generator's regularisers, and each before its weight.

        Where the first judge judges packs, a pack counts as one example.
        """
        first = self.judges[0]
        rules, memory = first.rules, extras.get(first.memory, {})
        step = step_of(memory, rules.discriminator_repeats, moves=False)
        packs = replace(
            update, made=pack(update.made, rules.packing), make=lambda z: pack(update.make(z), rules.packing)
        )
        weights = weighted(rules.generator_penalties)
        paid = {name: jnp.mean(OF_GENERATOR[name](packs)) for name in weights}
        return sum((rules.at(weights[name], step) * paid[name] for name in weights), jnp.zeros(())), paid

    def unrolled(self, judge: Judge, params: Params, generator: Params, extras: Any, batch: Batch, key: Key) -> Params:
        """The judge's parameters after some steps of gradient descent, as a function of the generator's."""

        def loss(params: Params) -> Float[Array, ""]:
            return self.judge_loss(judge, params, {G: generator}, extras, batch, key)[0]

        return descend(loss, params, judge.rules.unrolled_steps, judge.rules.unrolled_rate)


def against(judge: Judge, round: Round) -> tuple[Float[Array, ""], Metrics]:
    """The generator's loss against one judge: the adversarial half of its top share, and the judge's terms."""
    logits, real = round.of_fake["logits"], None if round.of_real is None else round.of_real["logits"]
    values = ADVERSARIAL[judge.rules.loss].generator(logits, real)
    if judge.rules.top_k != 1.0:
        values = values * top_share(logits, judge.rules.at(judge.rules.top_k, round.step))
    added, metrics = added_by(judge.generator_terms, round)
    return jnp.mean(values) + added, {"fake_probability": jnp.mean(jax.nn.sigmoid(logits)), **metrics}


def metric_of(judge: Judge, name: str) -> str:
    """The name, among the generator's metrics, of one that comes from this judge."""
    return name if judge.name == D else f"{judge.name}_{name}"


def added_by(terms: tuple[Term, ...], round: Round) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The sum of the terms' means, and the metrics of all."""
    total, metrics = jnp.zeros(()), dict[str, Array]()
    for term in terms:
        values, found = term(round)
        total, metrics = total + jnp.mean(values), {**metrics, **found}
    return total, metrics


def signals(round: Round) -> Metrics:
    """How sure the judge is, how varied the fakes are, and how often it sees them augmented, if that adapts."""
    assert round.of_real is not None
    adaptive = {"augmentation": round.memory["probability"]} if "probability" in round.memory else {}
    return {
        "real_probability": jnp.mean(jax.nn.sigmoid(round.of_real["logits"])),
        "fake_probability": jnp.mean(jax.nn.sigmoid(round.of_fake["logits"])),
        **collapse(round.of_real["features"], round.of_fake["features"]),
        **adaptive,
    }


def descend(loss: Callable[[Params], Float[Array, ""]], params: Params, steps: int, rate: float) -> Params:
    """`params` after some steps of gradient descent on the global batch's `loss`, differentiable in all it depends on.

    Unrolled GAN: Metz et al. 2017 (arXiv:1611.02163).
    """

    def step(params: Params, _: None) -> tuple[Params, None]:
        slope = jax.tree.map(device_mean, jax.grad(loss)(params))
        return jax.tree.map(lambda p, g: p - rate * g, params, slope), None

    return params if steps == 0 else jax.lax.scan(step, params, None, length=steps)[0]
