"""The rules of the adversarial game, each of which can be chosen alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError, unknown
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.penalty import PENALTIES
from genjax_art.models.augment import AUGMENTATIONS
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.memory import first_memory
from genjax_art.objectives.regularisers import OF_DISCRIMINATOR, OF_GENERATOR
from genjax_art.objectives.rounds import Memory
from genjax_art.parts import Count
from genjax_art.spec import ArraySpec
from genjax_art.train.optim import cosine_between

Value = float | tuple[float, float]  # throughout, or from the first to the second over the burn-in
NO_PENALTIES: Mapping[str, Value] = dict.fromkeys([*PENALTIES, *OF_DISCRIMINATOR], 0.0)
NO_GENERATOR_PENALTIES: Mapping[str, Value] = dict.fromkeys(OF_GENERATOR, 0.0)


@dataclass(frozen=True)
class Rules:
    """The rules by which one judge plays; options of every objective with a single one.

    Two of them are the generator's: of several judges the first one's `generator_penalties` and `shared_latents` hold.
    """

    loss: str = "non_saturating"
    """Adversarial loss: a name in `ADVERSARIAL`."""
    penalties: Mapping[str, Value] = field(default_factory=lambda: NO_PENALTIES)
    """Weights of the discriminator's regularisers: the penalties on its slope in `losses/penalty.py`, as factors
    (papers that write gamma/2 for R1 and R2 have a weight of gamma/2 here), and `regularisers.OF_DISCRIMINATOR`."""
    generator_penalties: Mapping[str, Value] = field(default_factory=lambda: NO_GENERATOR_PENALTIES)
    """Weights of `regularisers.OF_GENERATOR` in the generator's loss."""
    lazy: int = 1
    """Penalties on slopes are taken at every so many-th update of the discriminator only, times that number
    (arXiv:1912.04958). Meant to save time on large pictures; on CPU it does not, and with jax 0.12 a step takes much
    longer, for convolutions in a condition are slow there. Warning: with R1 and R2 it fails on 2-D toys and on
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
    """The augmentations under which the penalties cr and bcr want D's output to stay the same. Their papers' are
    `flip translation`: for pictures that may be mirrored, which digits and piano rolls may not."""
    discriminator_repeats: Count = 1
    """Updates of the discriminator in a step, each on a fresh batch."""
    shared_latents: bool = True
    """Both updates see the fakes of the same latents, which are then computed once."""
    packing: Count = 1
    """How many examples the discriminator judges at once (PacGAN, arXiv:1712.04086); unconditional only."""
    top_k: Value = 1.0
    """Share of the fakes, those that look most real, from which the generator learns (arXiv:2002.06224, from 1 to 0.5
    there)."""
    unrolled_steps: Count = 0
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
        """What a judge must remember to play by these rules, at the start; empty where it is nothing."""
        weights = (*self.penalties.values(), *self.generator_penalties.values())
        changing = any(isinstance(value, tuple) for value in (*weights, self.augmentation_probability, self.top_k))
        return first_memory(
            counting=self.lazy > 1 or changing,
            averaging=bool(self.penalties.get("lecam")),
            adaptive=self.augmentation_policy == "adaptive",
        )


DEFAULT = Rules()


def weighted(penalties: Mapping[str, Value]) -> dict[str, Value]:
    """Those with a weight."""
    return {name: weight for name, weight in penalties.items() if weight}


def check(rules: Rules, spec: ArraySpec, classes: int) -> None:
    """Raises UsageError where the rules name something unknown, or make no sense.

    Args:
      spec: of what the judge is given, which its view may have made of the examples.
      classes: of the generator, 0 where it is unconditional.
    """
    for kind, given, known in (
        ("adversarial loss", (rules.loss,), ADVERSARIAL),
        ("penalty", rules.penalties, NO_PENALTIES),
        ("penalty of the generator", rules.generator_penalties, NO_GENERATOR_PENALTIES),
        ("augmentation", (*rules.augmentations, *rules.second_look), AUGMENTATIONS),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    counts = ("lazy", "packing", "burn_in", "discriminator_repeats")
    check_objective(1, **{name: getattr(rules, name) for name in counts})
    check_objective(0, unrolled_steps=rules.unrolled_steps, unrolled_rate=rules.unrolled_rate)
    check_objective(0, 1, augmentation_probability=rules.augmentation_probability, top_k=rules.top_k)
    if rules.packing > 1 and classes:
        raise UsageError("packs have no label: use --model.no-conditional or --objective.packing 1")
    if "color" in rules.augmentations and spec.shape[-1] != 3:
        rest = [name for name in rules.augmentations if name != "color"]
        remedy = " ".join(["--objective.augmentations", *rest])
        raise UsageError(
            f"the augmentation color needs 3 channels (RGB), and there are {spec.shape[-1]}: leave it out, {remedy}"
        )
    if not spec.space and any(rules.penalties.get(name) for name in ("cr", "bcr")):
        raise UsageError("consistency penalties shift pictures, and points have no space: leave cr and bcr out")
    if rules.augmentation_policy == "adaptive" and not rules.augmentations:
        raise UsageError("an adaptive augmentation needs some to adapt: name --objective.augmentations")
