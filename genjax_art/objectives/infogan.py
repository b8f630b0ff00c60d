"""InfoGAN: codes among the latents that can be read from the picture, and so come to mean something.

Chen et al. 2016 (arXiv:1606.03657): G and a recogniser Q, a head on the discriminator, maximise a
lower bound of the mutual information between codes and picture, E[log Q(c|x)] + H(c). Unlike there, continuous codes
are standard normal, not uniform, so that all latents are, and Q's Gaussian has the variance 1.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import UsageError
from genjax_art.losses.creative import gaussian_code_loss, label_cross_entropy
from genjax_art.models.heads import WithCodes, WithHead, codes_of
from genjax_art.models.precision import as_in
from genjax_art.objectives import gan
from genjax_art.objectives.method import Method
from genjax_art.objectives.rounds import D, G, Round
from genjax_art.objectives.rules import DEFAULT, Rules
from genjax_art.spec import ArraySpec


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    categories: int = 10,
    continuous: int = 2,
    information: float = 1.0,
    rules: Rules = DEFAULT,
) -> Method:
    """The players `discriminator` and `generator` of a GAN, with a head for the codes on the discriminator.

    Args:
      networks: as of `objectives/gan.py`, unconditional; the first `categories + continuous` latents are the codes.
      categories: values of the categorical code, 0 for none; the largest of as many latents names it.
      continuous: number of continuous codes.
      information: weight lambda of the codes' negative log-likelihood in both losses.
      rules: as of `objectives/gan.py`, without packs.

    Metrics, beside those of a GAN: `information`, the lower bound of the mutual information in nats, at most
    log(categories) + continuous / 2, since a continuous code is guessed with variance 1.

    Raises:
      UsageError: no codes, more than there are latents, or a conditional model; or as `objectives/gan.py`.
    """
    latents = networks[G].latents
    if categories < 0 or continuous < 0 or categories == 1 or not 0 < categories + continuous <= latents:
        raise UsageError(
            f"categories (0, 2 or more) and continuous codes must be among the {latents} latents, "
            f"got {categories} and {continuous}"
        )
    if networks[G].classes:
        raise UsageError("objective infogan finds its own categories: use --model.no-conditional")
    networks = {
        G: as_in(networks[G], WithCodes(networks[G], categories, continuous)),
        D: as_in(networks[D], WithHead(networks[D], "codes", categories + continuous)),
    }
    entropy = math.log(max(categories, 1)) + continuous * 0.5 * math.log(2 * math.pi * math.e)

    def term(round: Round) -> tuple[Float[Array, "b"], Mapping[str, Float[Array, ""]]]:
        """-log Q(c | G(z, c)), in both players' losses: Q and G learn it."""
        category, numbers = codes_of(round.z, categories, continuous)
        found = round.of_fake["codes"]
        values = gaussian_code_loss(found[:, categories:], numbers, jnp.zeros(()))
        if categories:
            values = values + label_cross_entropy(found[:, :categories], category)
        return information * values, {"information": entropy - jnp.mean(values)}

    return gan.play(networks, spec, transforms, rules, (term,), (term,))
