"""The auxiliary classifier GAN: the discriminator names the class of what it sees, and both players want it right.

Odena, Olah & Shlens 2017 (arXiv:1610.09585): L_S is the adversarial pair, L_C the log-likelihood of
the right class of reals and of fakes; D maximises L_S + L_C, G maximises L_C - L_S.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError
from genjax_art.losses.creative import label_cross_entropy
from genjax_art.models.heads import WithHead
from genjax_art.models.precision import as_in
from genjax_art.objectives import gan
from genjax_art.objectives.method import Method
from genjax_art.objectives.rounds import D, G, Outputs, Round
from genjax_art.objectives.rules import DEFAULT, Rules
from genjax_art.spec import ArraySpec


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    class_weight: float = 1.0,
    rules: Rules = DEFAULT,
) -> Method:
    """The players `discriminator` and `generator` of a GAN, with a class head on the discriminator.

    Args:
      networks: as of `objectives/gan.py`, the generator conditional. The discriminator is not shown the labels.
      class_weight: weight of the classes' cross-entropies beside the adversarial losses; 1 in the paper.
      rules: as of `objectives/gan.py`, without packs.

    Metrics, beside those of a GAN: `class_accuracy` of reals (in the discriminator) and of fakes (in the generator).

    Raises:
      UsageError: an unconditional generator, or as `objectives/gan.py`.
    """
    if not networks[G].classes:
        raise UsageError("objective acgan needs a conditional generator: use --model.conditional")
    networks = {**networks, D: as_in(networks[D], WithHead(networks[D], "class", len(spec.classes)))}

    def discriminator_term(round: Round) -> tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]:
        assert round.of_real is not None
        label = round.batch["label"]
        values = cross_entropy(round.of_real, label) + cross_entropy(round.of_fake, label)
        return class_weight * values, {"class_accuracy": accuracy(round.of_real, label)}

    def generator_term(round: Round) -> tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]:
        label = round.batch["label"]
        return class_weight * cross_entropy(round.of_fake, label), {"class_accuracy": accuracy(round.of_fake, label)}

    return gan.play(networks, spec, transforms, rules, (discriminator_term,), (generator_term,))


def cross_entropy(out: Outputs, label: Int[Array, " b"]) -> Float[Array, "b"]:
    return label_cross_entropy(out["class"], label)


def accuracy(out: Outputs, label: Int[Array, " b"]) -> Float[Array, ""]:
    return jnp.mean((jnp.argmax(out["class"], -1) == label).astype(jnp.float32))
