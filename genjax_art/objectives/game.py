"""The adversarial game's two losses, by its rules.

Each loss is a sum of means: the adversarial pair, what the method adds, what the regularisers add. All of them are
functions of the round (`rounds.py`), so that any goes with any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.errors import RunError
from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.penalty import PENALTIES
from genjax_art.losses.selection import top_share
from genjax_art.metrics.collapse import collapse
from genjax_art.models.augment import augment
from genjax_art.models.packing import pack, unpack
from genjax_art.objectives.memory import first_memory, remember, step_of
from genjax_art.objectives.regularisers import OF_DISCRIMINATOR, OF_GENERATOR, lazy_slopes
from genjax_art.objectives.rounds import (
    MEMORY,
    STATISTICS,
    D,
    G,
    Memory,
    Outputs,
    Round,
    See,
    Term,
    apply,
    judge_both,
    tiled,
)
from genjax_art.shards import device_mean, global_normal
from genjax_art.spec import Batch, Key, Params
from genjax_art.train.optim import cosine_between

Value = float | tuple[float, float]  # throughout, or from the first to the second over the burn-in
NO_PENALTIES: Mapping[str, Value] = dict.fromkeys([*PENALTIES, *OF_DISCRIMINATOR], 0.0)
NO_GENERATOR_PENALTIES: Mapping[str, Value] = dict.fromkeys(OF_GENERATOR, 0.0)
Loss = tuple[Float[Array, ""], tuple[Mapping[str, Float[Array, ""]], Mapping[str, Any]]]


@dataclass(frozen=True)
class Rules:
    """The rules of the game, each of which can be chosen alone; options of every objective that plays it."""

    loss: str = "non_saturating"
    """Adversarial loss: a name in `ADVERSARIAL`."""
    penalties: Mapping[str, Value] = field(default_factory=lambda: NO_PENALTIES)
    """Weights of what holds the discriminator: the penalties on its slope in `losses/penalty.py`, as factors (papers
    that write gamma/2 for R1 and R2 have a weight of gamma/2 here), and `regularisers.OF_DISCRIMINATOR`."""
    generator_penalties: Mapping[str, Value] = field(default_factory=lambda: NO_GENERATOR_PENALTIES)
    """Weights of `regularisers.OF_GENERATOR` in the generator's loss."""
    lazy: int = 1
    """Penalties on slopes are taken at every so many-th update of the discriminator only, times that number
    (arXiv:1912.04958). It saves time on large pictures. Warning: with R1 and R2 it fails on 2-D toys and on
    Stacked-MNIST, where a discriminator runs away between two penalties: leave it at 1 there."""
    augmentations: tuple[str, ...] = ()
    """Names in `models.augment.AUGMENTATIONS`; the discriminator sees reals and fakes through them and every gradient,
    penalties' included, goes through them (DiffAugment, arXiv:2006.10738)."""
    augmentation_probability: Value = 1.0
    """Of each augmentation, for each example."""
    augmentation_policy: Literal["given", "adaptive"] = "given"
    """given: with that probability; adaptive: from 0 to at most that probability, as much as the discriminator
    overfits (ADA, arXiv:2006.06676)."""
    second_look: tuple[str, ...] = ("translation",)
    """The augmentations under which the penalties cr and bcr want D's verdict to stay the same. Their papers' are
    `flip translation`: for pictures that may be mirrored, which digits and piano rolls may not."""
    discriminator_repeats: int = 1
    """Updates of the discriminator in a step, each on a fresh batch."""
    shared_latents: bool = True
    """Both updates see the fakes of the same latents, which are then computed once."""
    packing: int = 1
    """How many examples the discriminator judges at once (PacGAN, arXiv:1712.04086); unconditional only."""
    top_k: Value = 1.0
    """Share of the fakes, those that look most real, from which the generator learns (arXiv:2002.06224, from 1 to 0.5
    there)."""
    unrolled_steps: int = 0
    """The generator plays against the discriminator that many steps of gradient descent ahead, and sees through them
    (arXiv:1611.02163)."""
    unrolled_rate: float = 0.01
    """The rate of that descent."""
    burn_in: int = 10_000
    """A value given as a pair goes from the first to the second in half a cosine over that many steps, as R3GAN's
    (arXiv:2501.05441)."""

    def at(self, value: Value, step: Int[Array, ""] | None) -> float | Float[Array, ""]:
        """`value` after `step` steps."""
        if not isinstance(value, tuple):
            return value
        assert step is not None
        return cosine_between(*value, self.burn_in)(step)

    def first_memory(self) -> Memory:
        values = (*self.penalties.values(), *self.generator_penalties.values(), self.augmentation_probability,
                  self.top_k)  # fmt: skip
        return first_memory(
            counting=self.lazy > 1 or any(isinstance(value, tuple) for value in values),
            averaging=bool(self.penalties.get("lecam")),
            adaptive=self.augmentation_policy == "adaptive",
        )


DEFAULT = Rules()


@dataclass(frozen=True)
class Game:
    """Generator, discriminator, rules, and what a method adds for either."""

    generator: nn.Module
    discriminator: nn.Module
    rules: Rules
    discriminator_terms: tuple[Term, ...] = ()
    generator_terms: tuple[Term, ...] = ()

    def discriminator_loss(self, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Loss:
        memory = extras.get(MEMORY, {})
        step = step_of(memory, self.rules.discriminator_repeats, D)
        see, z, real = self.eyes(memory, step, key), self.latents(batch, key), pack(batch["x"], self.rules.packing)
        make = self.maker(others[G], extras[G], batch)
        fake = make(z)[0]
        shown = see(real, "real"), see(fake, "fake")
        of_real, of_fake, own_extras = judge_both(self.discriminator, own, extras[D], *shown, self.label_of(batch))
        round = Round(own, batch, self.label_of(batch), z, real, fake, *shown, of_real, of_fake, see,
                      self.again(key), self.judge(own, extras[D], batch), lambda z: make(z)[0],
                      memory, key)  # fmt: skip
        total = jnp.mean(ADVERSARIAL[self.rules.loss].discriminator(of_real["logits"], of_fake["logits"]))
        added, metrics = added_by(self.discriminator_terms, round)
        held, paid = self.regularisation(round, step, extras[D])
        after = {**extras, D: own_extras}
        if memory:
            after[MEMORY] = remember(memory, of_real, of_fake, len(batch["x"]))
        return total + added + held, ({**signals(of_real, of_fake, memory), **metrics, **paid}, after)

    def generator_loss(self, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Loss:
        memory, rules, game = extras.get(MEMORY, {}), self.rules, ADVERSARIAL[self.rules.loss]
        step = step_of(memory, rules.discriminator_repeats, G)
        see, z, real = self.eyes(memory, step, key), self.latents(batch, key), pack(batch["x"], rules.packing)
        make = self.maker(own, extras[G], batch)
        fake, own_extras = make(z)
        judging = self.unrolled(others[D], own, extras, batch, key)
        shown = see(real, "real"), see(fake, "fake")
        judge = self.judge(judging, extras[D], batch)
        # each kind on its own: the generator's gradient does not pass the reals
        of_real, of_fake = judge(shown[0]) if game.needs_real else None, judge(shown[1])
        round = Round(own, batch, self.label_of(batch), z, real, fake, *shown, of_real, of_fake, see,
                      self.again(key), judge, lambda z: make(z)[0], memory, key)  # fmt: skip
        values = game.generator(of_fake["logits"], None if of_real is None else of_real["logits"])
        if rules.top_k != 1.0:
            values = values * top_share(of_fake["logits"], rules.at(rules.top_k, step))
        added, metrics = added_by(self.generator_terms, round)
        total, paid = jnp.mean(values) + added, {}
        for name, weight in weighted(rules.generator_penalties).items():
            paid[name] = jnp.mean(OF_GENERATOR[name](round))
            total = total + rules.at(weight, step) * paid[name]
        probability = {"fake_probability": jnp.mean(jax.nn.sigmoid(of_fake["logits"]))}
        return total, ({**probability, **metrics, **paid}, {**extras, G: own_extras})

    def regularisation(
        self, round: Round, step: Int[Array, ""] | None, extras: Any
    ) -> tuple[Float[Array, ""], Mapping[str, Float[Array, ""]]]:
        """The weighted sum of the discriminator's regularisers, and each before its weight."""
        rules, weights = self.rules, weighted(self.rules.penalties)
        names = frozenset(weights).intersection(PENALTIES)
        if names and STATISTICS in extras:
            raise RunError("penalties need a discriminator without batch statistics: choose another norm for it")
        paid = lazy_slopes(names, round, rules.lazy, round.memory.get("updates"))
        paid |= {name: jnp.mean(OF_DISCRIMINATOR[name](round)) for name in weights if name not in names}
        total = sum((rules.at(weights[name], step) * value for name, value in paid.items()), jnp.zeros(()))
        return total, paid

    def unrolled(self, params: Params, generator: Params, extras: Any, batch: Batch, key: Key) -> Params:
        """The discriminator some steps of gradient descent ahead, as a function of the generator."""

        def loss(params: Params) -> Float[Array, ""]:
            return self.discriminator_loss(params, {G: generator}, extras, batch, key)[0]

        return descend(loss, params, self.rules.unrolled_steps, self.rules.unrolled_rate)

    def label_of(self, batch: Batch) -> Array | None:
        return batch["label"] if self.generator.classes else None

    def latents(self, batch: Batch, key: Key) -> Float[Array, "b z"]:
        return global_normal(fold(key, "latents"), (len(batch["x"]), self.generator.latents))

    def maker(self, params: Params, extras: Any, batch: Batch) -> Callable[[Array], tuple[Array, Mapping[str, Any]]]:
        def make(z: Array) -> tuple[Array, Mapping[str, Any]]:
            x, after = apply(self.generator, params, extras, z, self.label_of(batch))
            return pack(x, self.rules.packing), after

        return make

    def judge(self, params: Params, extras: Any, batch: Batch) -> Callable[[Array], Outputs]:
        rows = len(batch["x"]) // self.rules.packing
        return lambda x: apply(self.discriminator, params, extras, x, tiled(self.label_of(batch), len(x) // rows))[0]

    def eyes(self, memory: Memory, step: Int[Array, ""] | None, key: Key) -> See:
        """What the discriminator sees of reals and fakes: augmented, each with draws of its own."""
        rules = self.rules
        if not rules.augmentations:
            return lambda x, which: x
        probability = rules.at(rules.augmentation_probability, step)
        if rules.augmentation_policy == "adaptive":
            probability = jnp.minimum(probability, memory["probability"])

        return self.through(rules.augmentations, "augment", key, probability)

    def again(self, key: Key) -> See:
        return self.through(self.rules.second_look, "consistency", key)

    def through(self, names: tuple[str, ...], purpose: str, key: Key, probability: float | Array = 1.0) -> See:
        """Those augmentations, of each example in a pack."""

        def see(x: Array, which: str) -> Array:
            seen = augment(unpack(x, self.rules.packing), fold(key, f"{purpose} {which}"), probability, names)
            return pack(seen, self.rules.packing)

        return see


def weighted(penalties: Mapping[str, Value]) -> dict[str, Value]:
    return {name: weight for name, weight in penalties.items() if weight}


def added_by(terms: tuple[Term, ...], round: Round) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    total, metrics = jnp.zeros(()), dict[str, Array]()
    for term in terms:
        values, found = term(round)
        total, metrics = total + jnp.mean(values), {**metrics, **found}
    return total, metrics


def signals(of_real: Outputs, of_fake: Outputs, memory: Memory) -> dict[str, Float[Array, ""]]:
    """How sure the discriminator is, how varied the fakes are, and how often it sees them augmented, if that adapts."""
    adaptive = {"augmentation": memory["probability"]} if "probability" in memory else {}
    return {
        "real_probability": jnp.mean(jax.nn.sigmoid(of_real["logits"])),
        "fake_probability": jnp.mean(jax.nn.sigmoid(of_fake["logits"])),
        **collapse(of_real["features"], of_fake["features"]),
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
