"""The adversarial game: discriminator, then generator against the new discriminator.

D maximises E[log D(x)] + E[log(1 - D(G(z)))], G minimises E[log(1 - D(G(z)))] (`loss="minimax"`) or -E[log D(G(z))]
(`"non_saturating"`), and so on for the other pairs of `losses/adversarial.py`. Goodfellow et al. 2014, algorithm 1
(arXiv:1406.2661). The case study's training step shows the discriminator the raw noise; here it sees G(noise).
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array

from genjax_art.errors import UsageError, unknown
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.models.augment import AUGMENTATIONS
from genjax_art.models.packing import pack
from genjax_art.objectives.game import NO_GENERATOR_PENALTIES, NO_PENALTIES, Game, Rules, Value
from genjax_art.objectives.method import Method
from genjax_art.objectives.rounds import MEMORY, D, G, Term
from genjax_art.spec import ArraySpec, Key, Params
from genjax_art.train.step import Player, fold


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    loss: str = "non_saturating",
    penalties: Mapping[str, Value] = NO_PENALTIES,
    generator_penalties: Mapping[str, Value] = NO_GENERATOR_PENALTIES,
    lazy: int = 1,
    augmentations: tuple[str, ...] = (),
    augmentation_probability: Value = 1.0,
    augmentation_policy: Literal["given", "adaptive"] = "given",
    discriminator_repeats: int = 1,
    shared_latents: bool = True,
    packing: int = 1,
    top_k: Value = 1.0,
    unrolled_steps: int = 0,
    unrolled_rate: float = 0.01,
    burn_in: int = 10_000,
) -> Method:
    """The players `discriminator` and `generator`.

    Args:
      networks: `generator`(z, label, train) -> x, with fields `latents` and `classes` (0: unconditional), and
        `discriminator`(x, label, train) -> {"logits": [b], "features": [b, d], ...}.
      loss: a name in `ADVERSARIAL`.
      penalties: weights of what holds the discriminator: the penalties on its slope in `losses/penalty.py`, as factors
        (papers that write gamma/2 for R1 and R2 have a weight of gamma/2 here), and `regularisers.OF_DISCRIMINATOR`.
      generator_penalties: weights of `regularisers.OF_GENERATOR` in the generator's loss.
      lazy: penalties on slopes are taken at every `lazy`-th update of the discriminator only, times `lazy`
        (arXiv:1912.04958). It saves time on large pictures. Warning: with R1 and R2 it fails on 2-D toys
        and on Stacked-MNIST, where a discriminator runs away between two penalties: leave it at 1 there.
      augmentations: names in `models.augment.AUGMENTATIONS`; the discriminator sees reals and fakes through them
        and every gradient, penalties' included, goes through them (DiffAugment, arXiv:2006.10738).
      augmentation_probability: of each augmentation, for each example.
      augmentation_policy: "given", with that probability; "adaptive", from 0 to at most that probability, as much as
        the discriminator overfits (ADA, arXiv:2006.06676).
      discriminator_repeats: its updates per step, each on a fresh batch.
      shared_latents: both updates see the fakes of the same latents, which are then computed once.
      packing: how many examples the discriminator judges at once (PacGAN, arXiv:1712.04086); unconditional only.
      top_k: the share of the fakes, those that look most real, from which the generator learns (arXiv:2002.06224, from
        1 to 0.5 there).
      unrolled_steps: the generator plays against the discriminator that many steps of gradient descent at the rate
        `unrolled_rate` ahead, and sees through them (arXiv:1611.02163).
      burn_in: a value given as a pair goes from the first to the second in half a cosine over that many steps, as
        R3GAN's (arXiv:2501.05441).

    Metrics: D(x) and D(G(z)) as mean probabilities, each penalty before its weight and the collapse signals of
    `metrics/collapse.py`, beside the losses; with the adaptive policy its probability, `augmentation`.

    Raises:
      UsageError: an unknown loss, penalty or augmentation; numbers that make no sense; packs of labelled examples.
      RunError: penalties on the slope of a discriminator with batch statistics.
    """
    rules = Rules(
        loss=loss,
        penalties=penalties,
        generator_penalties=generator_penalties,
        lazy=lazy,
        augmentations=augmentations,
        augmentation_probability=augmentation_probability,
        augmentation_policy=augmentation_policy,
        discriminator_repeats=discriminator_repeats,
        shared_latents=shared_latents,
        packing=packing,
        top_k=top_k,
        unrolled_steps=unrolled_steps,
        unrolled_rate=unrolled_rate,
        burn_in=burn_in,
    )
    return play(networks, spec, transforms, rules)


def play(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    rules: Rules,
    discriminator_terms: tuple[Term, ...] = (),
    generator_terms: tuple[Term, ...] = (),
) -> Method:
    """The game of `build` by these rules, with what another objective adds to the two losses."""
    generator = networks[G]
    check(rules, spec, generator.classes)
    game = Game(generator, networks[D], rules, discriminator_terms, generator_terms)

    def first(key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        params, extras = init(networks, spec, key, rules.packing)
        memory = rules.first_memory()
        return params, {**extras, MEMORY: memory} if memory else extras

    def generate(params: Params, extras: Mapping[str, Any], z: Array, label: Array | None) -> Array:
        x: Any = generator.apply({"params": params, **extras}, z, label if generator.classes else None, train=False)
        return x

    stream = "latents" if rules.shared_latents else None
    return Method(
        players=(
            Player(D, game.discriminator_loss, transforms[D], rules.discriminator_repeats, stream),
            Player(G, game.generator_loss, transforms[G], 1, stream),
        ),
        init=first,
        generate=generate,
        sampled=G,
        latents=generator.latents,
        classes=spec.classes if generator.classes else (),
    )


def check(rules: Rules, spec: ArraySpec, classes: int) -> None:
    """Raises UsageError where the rules name what there is not, or make no sense."""
    for kind, given, known in (
        ("adversarial loss", (rules.loss,), ADVERSARIAL),
        ("penalty", rules.penalties, NO_PENALTIES),
        ("penalty of the generator", rules.generator_penalties, NO_GENERATOR_PENALTIES),
        ("augmentation", rules.augmentations, AUGMENTATIONS),
    ):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    for name, least in {"lazy": 1, "packing": 1, "unrolled_steps": 0, "burn_in": 1}.items():
        if getattr(rules, name) < least:
            raise UsageError(f"--objective.{name.replace('_', '-')} must be at least {least}")
    if rules.packing > 1 and classes:
        raise UsageError("packs have no label: use --model.no-conditional or --objective.packing 1")
    if not spec.space and any(rules.penalties.get(name) for name in ("cr", "bcr")):
        raise UsageError("consistency penalties shift pictures, and points have no space: leave cr and bcr out")
    if rules.augmentation_policy == "adaptive" and not rules.augmentations:
        raise UsageError("an adaptive augmentation needs some to adapt: name --objective.augmentations")


def init(
    networks: Mapping[str, nn.Module], spec: ArraySpec, key: Key, packing: int = 1
) -> tuple[dict[str, Params], dict[str, Any]]:
    """First parameters and extras (other Flax collections) of generator and discriminator."""
    generator = networks[G]
    label = jnp.zeros((2,), jnp.int32) if generator.classes else None
    examples = {G: jnp.zeros((2, generator.latents)), D: pack(jnp.zeros((2 * packing, *spec.shape)), packing)}
    params, extras = {}, {}
    for name, x in examples.items():
        variables = dict(networks[name].init(fold(key, name), x, label))
        params[name] = variables.pop("params")
        extras[name] = variables
    return params, extras
