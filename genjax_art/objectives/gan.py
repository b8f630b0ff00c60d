"""The adversarial game: discriminator, then generator against the new discriminator.

D maximises E[log D(x)] + E[log(1 - D(G(z)))], G minimises E[log(1 - D(G(z)))] (`loss="minimax"`) or -E[log D(G(z))]
(`"non_saturating"`), and so on for the other pairs of `losses/adversarial.py`. Goodfellow et al. 2014, algorithm 1
(arXiv:1406.2661). The case study's training step shows the discriminator the raw noise; here it sees G(noise).
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array

from genjax_art.errors import UsageError, unknown
from genjax_art.keys import fold
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.models.augment import AUGMENTATIONS
from genjax_art.models.packing import pack
from genjax_art.objectives.game import DEFAULT, NO_GENERATOR_PENALTIES, NO_PENALTIES, Game, Rules
from genjax_art.objectives.method import Method, Weights, standard_normal
from genjax_art.objectives.rounds import MEMORY, D, G, Term
from genjax_art.spec import ArraySpec, Key, Keys, Params
from genjax_art.train.player import Player


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    rules: Rules = DEFAULT,
) -> Method:
    """The players `discriminator` and `generator`.

    Args:
      networks: `generator`(z, label, train) -> x, with fields `latents` and `classes` (0: unconditional), and
        `discriminator`(x, label, train) -> {"logits": [b], "features": [b, d], ...}.
      rules: loss, penalties, augmentations and the rest; see `Rules`.

    Metrics: D(x) and D(G(z)) as mean probabilities, each penalty before its weight and the collapse signals of
    `metrics/collapse.py`, beside the losses; with the adaptive policy its probability, `augmentation`.

    Raises:
      UsageError: an unknown loss, penalty or augmentation; numbers that make no sense; packs of labelled examples.
      RunError: penalties on the slope of a discriminator with batch statistics.
    """
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
    if rules.packing > 1 and (discriminator_terms or generator_terms):
        raise UsageError("packs hold no single examples for the other heads to judge: use --objective.packing 1")
    game = Game(generator, networks[D], rules, discriminator_terms, generator_terms)

    def first(key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        params, extras = init(networks, spec, key, rules.packing)
        memory = rules.first_memory()
        return params, {**extras, MEMORY: memory} if memory else extras

    def decode(weights: Weights, z: Array, label: Array | None, keys: Keys | None) -> Array:
        del keys
        variables = {"params": weights.params[G], **weights.extras[G]}
        x: Any = generator.apply(variables, z, label if generator.classes else None, train=False)
        return x

    stream = "latents" if rules.shared_latents else None
    return Method(
        players=(
            Player(D, game.discriminator_loss, transforms[D], rules.discriminator_repeats, stream),
            Player(G, game.generator_loss, transforms[G], 1, stream),
        ),
        init=first,
        draw=standard_normal(generator.latents),
        decode=decode,
        classes=spec.classes if generator.classes else (),
    )


def check(rules: Rules, spec: ArraySpec, classes: int) -> None:
    """Raises UsageError where the rules name what there is not, or make no sense."""
    for kind, given, known in (
        ("adversarial loss", (rules.loss,), ADVERSARIAL),
        ("penalty", rules.penalties, NO_PENALTIES),
        ("penalty of the generator", rules.generator_penalties, NO_GENERATOR_PENALTIES),
        ("augmentation", (*rules.augmentations, *rules.second_look), AUGMENTATIONS),
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
