"""Adversarial losses: pairs of functions of the discriminator's logits, one value per example.

Every pair is written in log-space with softplus, because -log sigmoid(d) = softplus(-d) and
-log(1 - sigmoid(d)) = softplus(d): value and gradient stay finite at any finite logit.  A discriminator's
loss is the sum of its real and its fake half, the i-th real beside the i-th fake; the mean over the batch is
left to the objective.

The case study that this package grew out of prints L_D with log D(G(z)) where log(1 - D(G(z))) is meant: its
discriminator would be trained to call fakes real.  `logistic_discriminator` has the sign put right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from genjax_art.losses.precision import at_least_float32
from genjax_art.shards import global_mean

PerExample = Float[Array, "b"]


@dataclass(frozen=True)
class AdversarialLoss:
    """A game: what the discriminator and what the generator minimises, both per example.

    `discriminator(real, fake)` and `generator(fake, real)` take logits of shape (b,). Where `needs_real` is False the
    generator's loss does not depend on D(x): `real` may be left out or None.
    """

    discriminator: Callable[[PerExample, PerExample], PerExample]
    generator: Callable[..., PerExample]
    needs_real: bool = False


def logistic_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """-log D(x) - log(1 - D(G(z))), nats; 2 ln 2 at an undecided discriminator.

    The inner maximisation of Goodfellow et al. 2014, equation 1 (arXiv:1406.2661).
    """
    return jax.nn.softplus(-at_least_float32(real)) + jax.nn.softplus(at_least_float32(fake))


def minimax_generator(fake: Float[Array, "b"], real: Float[Array, "b"] | None = None) -> Float[Array, "b"]:
    """log(1 - D(G(z))), nats: the original game, whose gradient fades where D is sure of a fake.

    Goodfellow et al. 2014, equation 1 (arXiv:1406.2661).
    """
    del real
    return -jax.nn.softplus(at_least_float32(fake))


def non_saturating_generator(fake: Float[Array, "b"], real: Float[Array, "b"] | None = None) -> Float[Array, "b"]:
    """-log D(G(z)), nats: the same fixed point with a strong gradient early in training.

    Goodfellow et al. 2014, section 3 (arXiv:1406.2661).
    """
    del real
    return jax.nn.softplus(-at_least_float32(fake))


def least_squares_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2, on logits without a sigmoid.

    Mao et al. 2017: targets a = 0, b = c = 1 (arXiv:1611.04076).
    """
    return 0.5 * (at_least_float32(real) - 1.0) ** 2 + 0.5 * at_least_float32(fake) ** 2


def least_squares_generator(fake: Float[Array, "b"], real: Float[Array, "b"] | None = None) -> Float[Array, "b"]:
    """(D(G(z)) - 1)^2 / 2.  Mao et al. 2017 (arXiv:1611.04076)."""
    del real
    return 0.5 * (at_least_float32(fake) - 1.0) ** 2


def hinge_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))).

    Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018, equation 16 (arXiv:1802.05957).
    """
    return jax.nn.relu(1.0 - at_least_float32(real)) + jax.nn.relu(1.0 + at_least_float32(fake))


def hinge_generator(fake: Float[Array, "b"], real: Float[Array, "b"] | None = None) -> Float[Array, "b"]:
    """-D(G(z)).  Miyato et al. 2018, equation 17 (arXiv:1802.05957)."""
    del real
    return -at_least_float32(fake)


def wasserstein_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """D(G(z)) - D(x): minus the Wasserstein-1 distance, where D is kept 1-Lipschitz by a penalty or a norm.

    Arjovsky et al. 2017 (arXiv:1701.07875).
    """
    return at_least_float32(fake) - at_least_float32(real)


def wasserstein_generator(fake: Float[Array, "b"], real: Float[Array, "b"] | None = None) -> Float[Array, "b"]:
    """-D(G(z)).  Arjovsky et al. 2017, theorem 3 (arXiv:1701.07875)."""
    del real
    return -at_least_float32(fake)


def relativistic_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """softplus(-(D(x) - D(G(z)))), nats: each real is to be more real than the fake beside it.

    RpGAN: RSGAN of Jolicoeur-Martineau 2018 (arXiv:1807.00734); Huang et al. 2024 (R3GAN), with
    f(t) = -softplus(-t) (arXiv:2501.05441).
    """
    return jax.nn.softplus(at_least_float32(fake) - at_least_float32(real))


def relativistic_generator(fake: Float[Array, "b"], real: Float[Array, "b"]) -> Float[Array, "b"]:
    """softplus(-(D(G(z)) - D(x))), nats.  Sources as for the discriminator."""
    return relativistic_discriminator(real=fake, fake=real)


def relativistic_average_discriminator(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, "b"]:
    """softplus(-(D(x) - E D(G(z)))) + softplus(D(G(z)) - E D(x)), nats; means over the global batch.

    RaSGAN of Jolicoeur-Martineau 2018 (arXiv:1807.00734).
    """
    real, fake = at_least_float32(real), at_least_float32(fake)
    return jax.nn.softplus(global_mean(fake) - real) + jax.nn.softplus(fake - global_mean(real))


def relativistic_average_generator(fake: Float[Array, "b"], real: Float[Array, "b"]) -> Float[Array, "b"]:
    """softplus(-(D(G(z)) - E D(x))) + softplus(D(x) - E D(G(z))), nats.  Source as for the discriminator."""
    return relativistic_average_discriminator(real=fake, fake=real)


ADVERSARIAL: Mapping[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(logistic_discriminator, minimax_generator),
    "non_saturating": AdversarialLoss(logistic_discriminator, non_saturating_generator),
    "least_squares": AdversarialLoss(least_squares_discriminator, least_squares_generator),
    "hinge": AdversarialLoss(hinge_discriminator, hinge_generator),
    "wasserstein": AdversarialLoss(wasserstein_discriminator, wasserstein_generator),
    "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator, needs_real=True),
    "relativistic_average": AdversarialLoss(
        relativistic_average_discriminator, relativistic_average_generator, needs_real=True
    ),
}
