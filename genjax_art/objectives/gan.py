"""The adversarial game: discriminator, then generator against the new discriminator.

D maximises E[log D(x)] + E[log(1 - D(G(z)))], G minimises E[log(1 - D(G(z)))] (`loss="minimax"`) or -E[log D(G(z))]
(`"non_saturating"`), and so on for the other pairs of `losses/adversarial.py`. Goodfellow et al. 2014, algorithm 1
(arXiv:1406.2661). The case study's training step shows the discriminator the raw noise; here it sees G(noise).
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import RunError, unknown
from genjax_art.losses.adversarial import ADVERSARIAL
from genjax_art.losses.penalty import PENALTIES, squared_gradient_norm
from genjax_art.metrics.collapse import collapse
from genjax_art.models.augment import augment
from genjax_art.objectives.method import Method
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Batch, Key, Params
from genjax_art.train.step import Player, fold

G, D = "generator", "discriminator"
STATISTICS = "batch_stats"  # the Flax collection that a network has if its examples depend on one another
NO_PENALTIES: Mapping[str, float] = dict.fromkeys(PENALTIES, 0.0)

Outputs = Mapping[str, Array]  # of a discriminator
Seen = Callable[[Array, Key, str], Array]  # x, key, "real" or "fake" -> what the discriminator sees of it
# What a method adds to a player's loss, per example, and its metrics; of D from its outputs for reals and fakes, of G
# from those for fakes.
Term = tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]
DiscriminatorTerm = Callable[[Outputs, Outputs, Batch], Term]
GeneratorTerm = Callable[[Outputs, Batch], Term]


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    loss: str = "non_saturating",
    penalties: Mapping[str, float] = NO_PENALTIES,
    augmentations: tuple[str, ...] = (),
    discriminator_repeats: int = 1,
    shared_latents: bool = True,
) -> Method:
    """The players `discriminator` and `generator`.

    Args:
      networks: `generator`(z, label, train) -> x, with fields `latents` and `classes` (0: unconditional), and
        `discriminator`(x, label, train) -> {"logits": [b], "features": [b, d], ...}.
      loss: a name in `ADVERSARIAL`.
      penalties: weights of the penalties in `PENALTIES` on the discriminator, as factors: papers that write
        gamma/2 for R1 and R2 have a weight of gamma/2 here.
      augmentations: names in `models.augment.AUGMENTATIONS`; the discriminator sees reals and fakes through them
        and every gradient, penalties' included, goes through them (DiffAugment, arXiv:2006.10738).
      discriminator_repeats: its updates per step, each on a fresh batch.
      shared_latents: both updates see the fakes of the same latents, which are then computed once.

    Metrics: D(x) and D(G(z)) as mean probabilities, each penalty before its weight and the collapse signals of
    `metrics/collapse.py`, beside the losses.

    Raises:
      UsageError: an unknown loss, penalty or augmentation.
    """
    return play(networks, spec, transforms, loss, penalties, augmentations, discriminator_repeats, shared_latents)


def no_discriminator_term(real: Outputs, fake: Outputs, batch: Batch) -> Term:
    del fake, batch
    return jnp.zeros_like(real["logits"]), {}


def no_generator_term(fake: Outputs, batch: Batch) -> Term:
    del batch
    return jnp.zeros_like(fake["logits"]), {}


def play(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    loss: str,
    penalties: Mapping[str, float],
    augmentations: tuple[str, ...],
    discriminator_repeats: int,
    shared_latents: bool,
    discriminator_term: DiscriminatorTerm = no_discriminator_term,
    generator_term: GeneratorTerm = no_generator_term,
) -> Method:
    """The game of `build`, with what another objective adds to the two losses."""
    if loss not in ADVERSARIAL:
        raise unknown("adversarial loss", loss, ADVERSARIAL)
    for name in penalties:
        if name not in PENALTIES:
            raise unknown("penalty", name, PENALTIES)
    game = ADVERSARIAL[loss]
    weights = {name: weight for name, weight in penalties.items() if weight}
    generator, discriminator = networks[G], networks[D]
    classes = generator.classes

    def label_of(batch: Batch) -> Array | None:
        return batch["label"] if classes else None

    def fakes(params: Params, extras: Any, batch: Batch, key: Key) -> tuple[Array, Mapping[str, Any]]:
        z = global_normal(fold(key, "latents"), (batch["x"].shape[0], generator.latents))
        return apply(generator, params, extras, z, label_of(batch))

    def seen(x: Float[Array, "b *shape"], key: Key, which: str) -> Float[Array, "b *shape"]:
        return augment(x, fold(key, f"augment {which}"), names=augmentations) if augmentations else x

    def discriminator_loss(own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        x, label = batch["x"], label_of(batch)
        made, _ = fakes(others[G], extras[G], batch, key)
        real, fake, own_extras = judge_both(
            discriminator, own, extras[D], seen(x, key, "real"), seen(made, key, "fake"), label
        )
        added, metrics = discriminator_term(real, fake, batch)
        values = game.discriminator(real["logits"], fake["logits"]) + added
        if weights:
            if STATISTICS in extras[D]:
                raise RunError("penalties need a discriminator without batch statistics: choose another norm for it")
            paid = pay(weights, lambda x, label: apply(discriminator, own, extras[D], x, label)[0]["logits"],
                       seen, x, made, label, key)  # fmt: skip
            values = values + sum(weights[name] * value for name, value in paid.items())
            metrics = {**metrics, **{name: jnp.mean(value) for name, value in paid.items()}}
        probabilities = {
            "real_probability": jnp.mean(jax.nn.sigmoid(real["logits"])),
            "fake_probability": jnp.mean(jax.nn.sigmoid(fake["logits"])),
        }
        signals = collapse(real["features"], fake["features"])
        return jnp.mean(values), ({**probabilities, **signals, **metrics}, {**extras, D: own_extras})

    def generator_loss(own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        made, own_extras = fakes(own, extras[G], batch, key)
        label, fake_seen = label_of(batch), seen(made, key, "fake")
        real: Array | None = None
        if game.needs_real:
            out, judged, _ = judge_both(
                discriminator, others[D], extras[D], seen(batch["x"], key, "real"), fake_seen, label
            )
            real = out["logits"]
        else:
            judged, _ = apply(discriminator, others[D], extras[D], fake_seen, label)
        added, metrics = generator_term(judged, batch)
        values = game.generator(judged["logits"], real) + added
        probability = jnp.mean(jax.nn.sigmoid(judged["logits"]))
        return jnp.mean(values), ({"fake_probability": probability, **metrics}, {**extras, G: own_extras})

    def generate(params: Params, extras: Mapping[str, Any], z: Array, label: Array | None) -> Array:
        x: Any = generator.apply({"params": params, **extras}, z, label if classes else None, train=False)
        return x

    stream = "latents" if shared_latents else None
    return Method(
        players=(
            Player(D, discriminator_loss, transforms[D], discriminator_repeats, stream),
            Player(G, generator_loss, transforms[G], 1, stream),
        ),
        init=lambda key: init(networks, spec, key),
        generate=generate,
        sampled=G,
        latents=generator.latents,
        classes=spec.classes if classes else (),
    )


def pay(
    weights: Mapping[str, float],
    logits: Callable[[Array, Array | None], Array],
    seen: Seen,
    real: Float[Array, "b *shape"],
    fake: Float[Array, "b *shape"],
    label: Array | None,
    key: Key,
) -> dict[str, Float[Array, "b"]]:
    """Each penalty that has a weight, per example, taken through the augmentation; R1 and R2 from one pull-back."""
    n = real.shape[0]

    def critic_of_both(pair: Array) -> Array:
        stacked = jnp.concatenate([seen(pair[:n], key, "real"), seen(pair[n:], key, "fake")])
        return logits(stacked, None if label is None else jnp.concatenate([label, label]))

    def critic(x: Array) -> Array:
        return logits(seen(x, key, "real"), label)

    paid = {}
    if weights.keys() >= {"r1", "r2"}:
        squares = squared_gradient_norm(critic_of_both, jnp.concatenate([real, fake]))
        paid = {"r1": squares[:n], "r2": squares[n:]}
    for name in weights.keys() - paid.keys():
        paid[name] = PENALTIES[name](critic, real, fake, fold(key, name))
    return paid


def init(networks: Mapping[str, nn.Module], spec: ArraySpec, key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
    """First parameters and extras (other Flax collections) of generator and discriminator."""
    generator = networks[G]
    label = jnp.zeros((2,), jnp.int32) if generator.classes else None
    examples = {G: jnp.zeros((2, generator.latents)), D: jnp.zeros((2, *spec.shape))}
    params, extras = {}, {}
    for name, x in examples.items():
        variables = dict(networks[name].init(fold(key, name), x, label))
        params[name] = variables.pop("params")
        extras[name] = variables
    return params, extras


def apply(
    network: nn.Module, params: Params, extras: Mapping[str, Any], x: Array, label: Array | None
) -> tuple[Any, Mapping[str, Any]]:
    """The network's output in training mode, and its new extras."""
    return network.apply({"params": params, **extras}, x, label, train=True, mutable=list(extras))


def judge_both(
    discriminator: nn.Module, params: Params, extras: Mapping[str, Any], real: Array, fake: Array, label: Array | None
) -> tuple[Mapping[str, Array], Mapping[str, Array], Mapping[str, Any]]:
    """The discriminator's outputs for reals and fakes, and its new extras.

    One call for both where it has no batch statistics: half the calls, twice the size. With statistics each kind
    is normalised by its own, as in DCGAN practice.
    """
    if STATISTICS in extras:
        real_out, extras = apply(discriminator, params, extras, real, label)
        fake_out, extras = apply(discriminator, params, extras, fake, label)
        return real_out, fake_out, extras
    both = None if label is None else jnp.concatenate([label, label])
    out, extras = apply(discriminator, params, extras, jnp.concatenate([real, fake]), both)
    n = real.shape[0]
    return {k: v[:n] for k, v in out.items()}, {k: v[n:] for k, v in out.items()}, extras
