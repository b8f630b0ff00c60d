"""The adversarial game: discriminator, then generator against the new discriminator.

D maximises E[log D(x)] + E[log(1 - D(G(z)))], G minimises E[log(1 - D(G(z)))] (`loss="minimax"`) or -E[log D(G(z))]
(`"non_saturating"`), and so on for the other pairs of `losses/adversarial.py`. Goodfellow et al. 2014, algorithm 1
(arXiv:1406.2661). The case study's training step shows the discriminator the raw noise; here it sees G(noise).
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.latents import Latents, Spread
from genjax_art.models.packing import pack
from genjax_art.objectives.game import DrawFrom, Game, normal_latents
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.method import Method, Weights
from genjax_art.objectives.rounds import D, G, Term
from genjax_art.objectives.rules import DEFAULT, Rules, check, weighted
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
    judge = Judge(networks[D], rules, terms=discriminator_terms, generator_terms=generator_terms)
    return play_judges(networks[G], (judge,), spec, transforms)


def play_judges(
    generator: nn.Module,
    judges: Sequence[Judge],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    draw: DrawFrom | None = None,
) -> Method:
    """The game of a generator against any number of judges: a player for each, in their order, then `generator`.

    Args:
      generator: (z, label, train) -> x, with fields `latents` and `classes` (0: unconditional).
      judges: with distinct names. For the generator the first one's `generator_penalties` and `shared_latents` hold.
      transforms: by player.
      draw: (normal, key, n) -> z, any pytree with n rows in every leaf, made of what `normal` draws, in training and in
        sampling alike; standard normal [n, latents] by default.

    Metrics: of each judge those of `build`. Among the generator's, those that come from a judge other than
    `discriminator` begin with its name: `frames_fake_probability`.

    Raises:
      UsageError: as `build`; no judges, or names that are taken; rules of the generator with a later judge.
      RunError: as `build`.
    """
    judges = tuple(judges)
    check_judges(judges, spec, generator.classes)
    game = Game(generator, judges, draw or normal_latents(generator.latents))

    def draw_latents(weights: Weights, key: Key, n: int, label: Array | None, spread: Spread) -> Latents:
        del weights, label
        return game.draw(spread.normal, key, n)

    def decode(weights: Weights, z: Latents, label: Array | None, keys: Keys | None) -> Array:
        del keys
        variables = {"params": weights.params[G], **weights.extras[G]}
        x: Any = generator.apply(variables, z, label if generator.classes else None, train=False)
        return jnp.clip(x, spec.low, spec.high) if spec.bounded else x  # not every generator ends in a tanh

    return Method(
        players=players(game, transforms),
        init=functools.partial(init, game, spec),
        draw=draw_latents,
        decode=decode,
        classes=spec.classes if generator.classes else (),
    )


def players(game: Game, transforms: Mapping[str, optax.GradientTransformation]) -> tuple[Player, ...]:
    """The judges, then the generator. On shared latents all have one random stream."""
    stream = "latents" if game.judges[0].rules.shared_latents else None
    of_judges = (
        Player(
            judge.name,
            functools.partial(game.judge_loss, judge),
            transforms[judge.name],
            judge.rules.discriminator_repeats,
            stream,
        )
        for judge in game.judges
    )
    return (*of_judges, Player(G, game.generator_loss, transforms[G], 1, stream))


def init(game: Game, spec: ArraySpec, key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
    """First parameters of all players, and extras: their other Flax collections, and the judges' memories."""
    label = jnp.zeros((2,), jnp.int32) if game.generator.classes else None
    networks: dict[str, tuple[nn.Module, Latents]] = {
        G: (game.generator, jax.tree.map(jnp.zeros_like, game.draw(jax.random.normal, key, 2))),
        **{judge.name: (judge.network, first_packs(judge, spec)) for judge in game.judges},
    }
    params, extras = {}, {}
    for name, (network, x) in networks.items():
        variables = dict(network.init(fold(key, name), x, label))
        params[name] = variables.pop("params")
        extras[name] = variables
    memories = {judge.memory: judge.rules.first_memory() for judge in game.judges}
    return params, {**extras, **{entry: memory for entry, memory in memories.items() if memory}}


def first_packs(judge: Judge, spec: ArraySpec) -> Array:
    """Two packs of zeros, of the shape that the judge's network is given."""
    packing = judge.rules.packing
    return pack(jnp.zeros((2 * packing, *viewed(judge, spec).shape)), packing)


def viewed(judge: Judge, spec: ArraySpec) -> ArraySpec:
    """What the judge's view makes of an example of `spec`."""
    examples = jax.ShapeDtypeStruct((2, *spec.shape), jnp.float32)
    key = jax.eval_shape(jax.random.key, 0)
    return replace(spec, shape=jax.eval_shape(judge.view, examples, key).shape[1:])


def check_judges(judges: tuple[Judge, ...], spec: ArraySpec, classes: int) -> None:
    """Raises UsageError where a judge's rules make no sense for its view, or the judges do not go together."""
    taken = [G, *(name for judge in judges for name in (judge.name, judge.memory))]
    if not judges or len(set(taken)) < len(taken):
        names = ", ".join(judge.name for judge in judges) or "none"
        raise UsageError(f"judges need distinct names other than {G!r}, at least one; got: {names}")
    for judge in judges:
        check(judge.rules, viewed(judge, spec), classes)
        if judge.rules.packing > 1 and (judge.terms or judge.generator_terms):
            raise UsageError("packs hold no single examples for the other heads to judge: use --objective.packing 1")
    for judge in judges[1:]:
        if weighted(judge.rules.generator_penalties) or not judge.rules.shared_latents:
            raise UsageError(
                f"generator_penalties and shared_latents are the generator's: give them to {judges[0].name}, "
                f"not to {judge.name}"
            )
