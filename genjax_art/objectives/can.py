"""The creative adversarial network: art that is judged to be art, in no style that the judge knows.

Elgammal, Liu, Elhoseiny & Mazzone 2017 (arXiv:1706.07068). The discriminator has a second head that learns
the styles of real art, and of real art only. The generator is rewarded where that head cannot tell the style of its
pictures: the gradient of the ambiguity runs through the head and the picture into the generator, and nowhere else.
"""

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import RunError, UsageError
from genjax_art.losses.creative import (
    binary_style_ambiguity,
    label_cross_entropy,
    normalised_style_entropy,
    style_ambiguity,
)
from genjax_art.objectives import gan
from genjax_art.objectives.method import Method
from genjax_art.objectives.rounds import Round
from genjax_art.objectives.rules import DEFAULT, Rules
from genjax_art.spec import ArraySpec

AMBIGUITY = {"softmax": style_ambiguity, "binary": binary_style_ambiguity}


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    ambiguity: float = 1.0,
    form: Literal["softmax", "binary"] = "softmax",
    style_weight: float = 1.0,
    rules: Rules = DEFAULT,
) -> Method:
    """The players `discriminator` and `generator` of a GAN, with the style head's terms.

    Args:
      networks: as of `objectives/gan.py`; the discriminator's outputs have "style" [b, K], logits of the labels.
      ambiguity: weight of the style ambiguity in the generator's loss; with 0 G learns as in a GAN.
      form: "softmax", cross-entropy of the uniform distribution; "binary", K questions with target 1/K (the paper's
        equation).
      style_weight: weight of the style head's cross-entropy in the discriminator's loss.
      rules: as of `objectives/gan.py`, without packs.

    Metrics, beside those of a GAN: of reals (in the discriminator) `style_accuracy` and `style_entropy`, of fakes
    (in the generator) `style_entropy` and `style_ambiguity`. Entropies are means over ln K, 0 to 1.

    Raises:
      UsageError: a discriminator without style head, or as `objectives/gan.py`.
      RunError: data with fewer than two labels.
    """
    if len(spec.classes) < 2:
        raise RunError(
            f"style ambiguity needs two styles or more; the data has {len(spec.classes)} labels: name others"
        )
    if not getattr(networks[gan.D], "styles", 0):
        raise UsageError("objective can needs a discriminator that classifies styles: use --model.style-head")

    def discriminator_term(round: Round) -> tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]:
        assert round.of_real is not None
        style, label = round.of_real["style"], round.batch["label"]  # the head learns from real art only
        right = (jnp.argmax(style, -1) == label).astype(jnp.float32)
        return style_weight * label_cross_entropy(style, label), {
            "style_accuracy": jnp.mean(right),
            "style_entropy": jnp.mean(normalised_style_entropy(style)),
        }

    def generator_term(round: Round) -> tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]:
        style = round.of_fake["style"]
        values = AMBIGUITY[form](style)
        return ambiguity * values, {
            "style_ambiguity": jnp.mean(values),
            "style_entropy": jnp.mean(normalised_style_entropy(style)),
        }

    return gan.play(networks, spec, transforms, rules, (discriminator_term,), (generator_term,))
