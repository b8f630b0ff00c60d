"""A judge: a discriminator, what it is given to judge, and the rules by which it plays against the generator.

A generator of clips may play against a judge of single frames and one of whole clips (MoCoGAN, Tulyakov et al. 2018,
arXiv:1707.04993; DVD-GAN, Clark et al. 2019, arXiv:1907.06571), a generator of pictures against one of pixels and one
of features (Projected GAN, Sauer et al. 2021, arXiv:2111.01007).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genjax_art.errors import RunError
from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.penalty import PENALTIES
from genjax_art.models.augment import augment
from genjax_art.models.packing import pack, unpack
from genjax_art.objectives.memory import memory_entry, step_of
from genjax_art.objectives.regularisers import OF_DISCRIMINATOR, lazy_slopes
from genjax_art.objectives.rounds import (
    STATISTICS,
    D,
    Memory,
    Outputs,
    Round,
    See,
    Term,
    Update,
    apply,
    judge_both,
    tiled,
)
from genjax_art.objectives.rules import DEFAULT, Rules, weighted
from genjax_art.spec import Key, Params

View = Callable[[Array, Key], Array]  # x [b, *shape], key -> [b, *view]


def whole(x: Float[Array, "b *shape"], key: Key) -> Float[Array, "b *shape"]:
    """The view of a judge that is given all of every example."""
    del key
    return x


@dataclass(frozen=True)
class Judge:
    """A discriminator with its view, rules and terms; its memory is in the state's extras (`memory.py`).

    Its random numbers are drawn from the update's key where it is called `discriminator`, and from a key of its own
    otherwise: judges do not share the draws of augmentations, views and penalties, but see the same fakes.
    """

    network: nn.Module
    """(x, label, train) -> {"logits": [b], "features": [b, d], ...}."""
    rules: Rules = DEFAULT
    name: str = D
    """The player's: of its parameters, extras, optimizer and metrics."""
    view: View = whole
    """What it is given of the examples, reals and fakes, each with draws of its own: a row for each, [b, *view]. What
    is drawn must come from `shards.global_draw`, so that it is the same in every parallel mode."""
    terms: tuple[Term, ...] = ()
    """What a method adds to this judge's loss."""
    generator_terms: tuple[Term, ...] = ()
    """What a method adds to the generator's loss by this judge's outputs, those of another head for instance."""
    weight: float = 1.0
    """Of all that this judge adds to the generator's loss; at 0 the generator does not play against it."""

    @property
    def memory(self) -> str:
        return memory_entry(self.name)

    def round(
        self, update: Update, params: Params, extras: Mapping[str, Any], *, moves: bool
    ) -> tuple[Round, Mapping[str, Any]]:
        """The update after this judge has looked at its reals and fakes, and the new extras of the judge's network.

        `params` are this judge's, whoever is to move; `moves`: it is this judge's own update, not the generator's.
        """
        own, memory, key = extras[self.name], extras.get(self.memory, {}), self.key_from(update.key)
        step = step_of(memory, self.rules.discriminator_repeats, moves=moves)
        view, see = self.viewing(key), self.augmenting(memory, step, key)
        real, fake = view(update.batch["x"], "real"), view(update.made, "fake")
        shown_real, shown_fake = see(real, "real"), see(fake, "fake")
        judge = self.judging(params, own, update)
        of_real: Outputs | None = None
        if moves:
            of_real, of_fake, own = judge_both(self.network, params, own, shown_real, shown_fake, update.label)
        else:  # each kind on its own: the generator's gradient does not pass the reals
            of_real = judge(shown_real) if ADVERSARIAL[self.rules.loss].needs_real else None
            of_fake = judge(shown_fake)
        round = Round(
            **vars(update),
            real=real,
            fake=fake,
            shown_real=shown_real,
            shown_fake=shown_fake,
            of_real=of_real,
            of_fake=of_fake,
            view=view,
            see=see,
            look_again=self.through(self.rules.second_look, "consistency", key),
            judge=judge,
            memory=memory,
            step=step,
            judge_key=key,
        )
        return round, own

    def penalties(
        self, round: Round, extras: Mapping[str, Any]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The weighted sum of this judge's regularisers, and each before its weight. `extras`: its network's."""
        weights = weighted(self.rules.penalties)
        names = frozenset(weights).intersection(PENALTIES)
        if names and STATISTICS in extras:
            raise RunError("penalties need a discriminator without batch statistics: choose another norm for it")
        paid = lazy_slopes(names, round, self.rules.lazy, round.memory.get("updates"))
        paid |= {name: jnp.mean(OF_DISCRIMINATOR[name](round)) for name in weights if name not in names}
        total = sum((self.rules.at(weights[name], round.step) * value for name, value in paid.items()), jnp.zeros(()))
        return total, paid

    def key_from(self, key: Key) -> Key:
        """Of the update's key, that of what is drawn for this judge alone."""
        return key if self.name == D else fold(key, f"judge {self.name}")

    def judging(self, params: Params, extras: Mapping[str, Any], update: Update) -> Callable[[Array], Outputs]:
        """The network as a function of what is shown, of as many rows or twice as many; it forgets its new extras."""
        rows = len(update.batch["x"]) // self.rules.packing
        return lambda x: apply(self.network, params, extras, x, tiled(update.label, len(x) // rows))[0]

    def viewing(self, key: Key) -> See:
        """From whole examples to packs of what this judge is given of them."""
        return lambda x, which: pack(self.view(x, fold(key, f"view {which}")), self.rules.packing)

    def augmenting(self, memory: Memory, step: Array | None, key: Key) -> See:
        """From what the view gives to what the network is shown: augmented, reals and fakes with draws of their own."""
        rules = self.rules
        if not rules.augmentations:
            return lambda x, which: x
        probability = rules.at(rules.augmentation_probability, step)
        if rules.augmentation_policy == "adaptive":
            probability = jnp.minimum(probability, memory["probability"])
        return self.through(rules.augmentations, "augment", key, probability)

    def through(self, names: tuple[str, ...], purpose: str, key: Key, probability: float | Array = 1.0) -> See:
        """Those augmentations, of each example in a pack."""

        def see(x: Array, which: str) -> Array:
            seen = augment(unpack(x, self.rules.packing), fold(key, f"{purpose} {which}"), probability, names)
            return pack(seen, self.rules.packing)

        return see
