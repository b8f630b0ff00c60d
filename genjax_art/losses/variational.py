"""Variational bounds: divergences, log-likelihoods and their units, one value per example, in nats.

A VAE minimises the negative evidence lower bound  -log p(x|z) + KL(q(z|x) || p(z)).  The case study that this
package grew out of prints it with a plus sign before the log-likelihood, and with a KL that is not the one
between the approximate posterior and the prior; `elbo_parts` has both put right.

Kingma & Welling 2014, appendix B (arXiv:1312.6114).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.losses.precision import at_least_float32, softplus, sum_per_example
from genjax_art.shards import global_mean

# Above this log-variance (sigma = e^25) the exponential continues as its tangent: finite, and still steep.
MAX_LOGVAR = 50.0
# Beyond these bounds a decoder's scale has no effect: squared errors over e^-20 are still float32 numbers.
MAX_LOG_SCALE = 20.0


class Gaussian(NamedTuple):
    """N(mu, diag e^logvar): a posterior q(z|x), or a prior."""

    mu: Float[Array, "b *latent"]
    logvar: Float[Array, "b *latent"]

    def at(self, noise: Float[Array, "b *latent"]) -> Float[Array, "b *latent"]:
        """mu + sigma * noise: a sample, differentiable in both, for standard normal noise (arXiv:1312.6114).

        Sigma is at most e^25, so that an encoder gone wild gives numbers."""
        return self.mu + jnp.exp(0.5 * jnp.minimum(self.logvar, MAX_LOGVAR)) * noise


def kl_per_dimension(q: Gaussian, p: Gaussian | None = None) -> Float[Array, "b *latent"]:
    """KL(q || p) of every latent number, nats; p is N(0, 1) if left out.

    log(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2; with a standard normal p it is
    (e^logvar - 1 - logvar + mu^2) / 2: Kingma & Welling 2014, appendix B (arXiv:1312.6114).
    """
    mu, logvar = at_least_float32(q.mu), at_least_float32(q.logvar)
    square: Array = mu**2
    if p is not None:  # both in units of p's standard deviation
        wide = at_least_float32(p.logvar)
        bounded = jnp.clip(wide, -MAX_LOGVAR, MAX_LOGVAR)
        square = (mu - at_least_float32(p.mu)) ** 2 * jnp.exp(-bounded)
        logvar = logvar - wide
    capped = jnp.minimum(logvar, MAX_LOGVAR)
    variance_minus_one = jnp.expm1(capped) + jnp.exp(capped) * (logvar - capped)
    return 0.5 * (variance_minus_one - logvar + square)


def kl_gaussians(q: Gaussian, p: Gaussian | None = None) -> Float[Array, "b"]:
    """KL(q || p), nats, summed over all latent axes; p is N(0, 1) if left out.  Source as above."""
    return sum_per_example(kl_per_dimension(q, p))


def free_bits(kl: Float[Array, "b *latent"], minimum: float) -> Float[Array, "b"]:
    """The KL in which no latent number costs less than `minimum` nats on average over the global batch.

    Its batch mean is sum_j max(minimum, E[KL_j]), in value and gradient, of Kingma et al. 2016
    (arXiv:1606.04934): a dimension under the minimum counts as the constant `minimum`, the others as
    they are.
    """
    kl = at_least_float32(kl)
    paid = global_mean(kl, axis=0)[None] > minimum
    return sum_per_example(jnp.where(paid, kl, minimum))


def kl_weight(step: Int[Array, ""], beta: float, warmup_steps: int) -> Float[Array, ""]:
    """beta * min(1, step / warmup_steps): 0 in step 0, beta from step `warmup_steps` on.

    Bowman et al. 2016, section 3.1 (arXiv:1511.06349).
    """
    risen = 1.0 if warmup_steps == 0 else jnp.minimum(1.0, step.astype(jnp.float32) / warmup_steps)
    return jnp.asarray(beta * risen, jnp.float32)


class ElboParts(NamedTuple):
    """The two halves of the negative evidence lower bound, nats per example."""

    reconstruction: Float[Array, "b"]  # distortion, -log p(x|z)
    kl: Float[Array, "b"]  # rate, KL(q(z|x) || p(z))

    @property
    def elbo(self) -> Float[Array, "b"]:
        """The bound itself: to be maximised, at most log p(x)."""
        return -(self.reconstruction + self.kl)


def elbo_parts(log_likelihood: Float[Array, "b"], kl: Float[Array, "b"]) -> ElboParts:
    """Reconstruction and KL of a VAE, from log p(x|z) of one z each and KL(q(z|x) || p(z)), or its estimate
    log q(z|x) - log p(z) from that z.

    The estimator of Kingma & Welling 2014 with L = 1 (arXiv:1312.6114).  A beta-VAE minimises
    reconstruction + beta * kl (Higgins et al. 2017).
    """
    return ElboParts(-at_least_float32(log_likelihood), at_least_float32(kl))


def importance_weighted_bound(log_weights: Float[Array, "k b"]) -> Float[Array, "b"]:
    """log (1/k) sum_k w_k, nats: a lower bound of log p(x) that tightens with k; the ELBO at k = 1.

    log w = log p(x|z) + log p(z) - log q(z|x) with z from q.  Burda et al. 2016
    (arXiv:1509.00519).
    """
    log_weights = at_least_float32(log_weights)
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def bits_per_dimension(nats: Float[Array, "b"], size: int, bin_width: float = 1.0) -> Float[Array, "b"]:
    """Negative log-likelihood in bits per number of an example, from `nats` for its `size` numbers.

    `bin_width` 1 is for a probability mass (`discretized_logistic`, binary data).  A density depends on the
    units of x: with 256-level data dequantised by uniform noise of one level's width to fill [low, high],
    `bin_width` is (high - low) / 256, and nats - size * log(bin_width) bounds the code length of the data
    from above (Theis et al. 2016, arXiv:1511.01844).
    """
    return (at_least_float32(nats) / size - math.log(bin_width)) / math.log(2.0)


def bernoulli(logits: Float[Array, "b *shape"], x01: Float[Array, "b *shape"]) -> Float[Array, "b"]:
    """x log sigmoid(l) + (1 - x) log(1 - sigmoid(l)), nats, summed over the example; x in [0, 1].

    A log-likelihood where x is 0 or 1; for greys between it is the customary cross-entropy, unnormalised.
    Kingma & Welling 2014 (arXiv:1312.6114).
    """
    logits, x01 = at_least_float32(logits), at_least_float32(x01)
    return sum_per_example(x01 * logits - softplus(logits))  # one logarithm instead of two


def gaussian(
    mean: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    log_scale: Float[Array, ""] | Float[Array, "b *shape"],
) -> Float[Array, "b"]:
    """log N(x; mean, e^(2 log_scale)), nats of density in the units of x, summed over the example.

    Kingma & Welling 2014 (arXiv:1312.6114); one scale for all pixels: Rybkin et al. 2021
    (arXiv:2006.13202).  `log_scale` is clipped to +-20.
    """
    mean, x = at_least_float32(mean), at_least_float32(x)
    log_scale = _bounded(log_scale)
    square = ((x - mean) * jnp.exp(-log_scale)) ** 2
    return -sum_per_example(0.5 * square + log_scale + 0.5 * math.log(2.0 * math.pi))


def discretized_logistic(
    mean: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    log_scale: Float[Array, ""] | Float[Array, "b *shape"],
    levels: int = 256,
    low: float = -1.0,
    high: float = 1.0,
) -> Float[Array, "b"]:
    """log P(x), nats of probability mass, summed over the example, of x on `levels` even values low ... high.

    The logistic's mass in x's bin; the first and the last bin reach to infinity, so the levels sum to 1:
    Salimans et al. 2017 (arXiv:1701.05517).  With a, b the bin's standardised edges,
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), which needs no difference of sigmoids.
    `log_scale` is clipped to +-20; x between two levels is taken for a bin centred on x.
    """
    mean, x = at_least_float32(mean), at_least_float32(x)
    inverse_scale = jnp.exp(-_bounded(log_scale))
    width = (high - low) / (levels - 1)
    log_below = jax.nn.log_sigmoid((x - mean + 0.5 * width) * inverse_scale)  # log P(value < upper edge)
    log_above = jax.nn.log_sigmoid((mean - x + 0.5 * width) * inverse_scale)  # log P(value > lower edge)
    log_inside = log_below + log_above + jnp.log(-jnp.expm1(-width * inverse_scale))
    first, last = x < low + 0.5 * width, x > high - 0.5 * width
    return sum_per_example(jnp.where(first, log_below, jnp.where(last, log_above, log_inside)))


@dataclass(frozen=True)
class Likelihood:
    """How a decoder's raw outputs are read as a distribution of x in the closed range [low, high].

    `log_prob(outputs, x, log_scale, low, high)`: nats per example, of outputs and x (b, *shape) and one
    scalar log-scale in the units of x.  `mean(outputs, low, high)`: the picture, in [low, high].  `has_scale`
    is whether the scale is used, and so has to be learned. Of `gaussian` log_prob is that of a density in the units
    of x, of the others of a probability.
    """

    log_prob: Callable[..., Float[Array, "b"]]
    mean: Callable[[Float[Array, "b *shape"], float, float], Float[Array, "b *shape"]]
    has_scale: bool


def _bernoulli_log_prob(
    outputs: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    log_scale: Float[Array, ""],
    low: float,
    high: float,
) -> Float[Array, "b"]:
    del log_scale
    return bernoulli(outputs, (at_least_float32(x) - low) / (high - low))


def _bernoulli_mean(outputs: Float[Array, "b *shape"], low: float, high: float) -> Float[Array, "b *shape"]:
    return low + (high - low) * jax.nn.sigmoid(at_least_float32(outputs))


def _location(outputs: Float[Array, "b *shape"], low: float, high: float) -> Float[Array, "b *shape"]:
    """Outputs -1 ... 1 laid on low ... high: a fresh decoder, near 0, starts at mid-grey in every range."""
    return 0.5 * (low + high) + 0.5 * (high - low) * at_least_float32(outputs)


def _location_mean(outputs: Float[Array, "b *shape"], low: float, high: float) -> Float[Array, "b *shape"]:
    return jnp.clip(_location(outputs, low, high), low, high)


def _gaussian_log_prob(
    outputs: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    log_scale: Float[Array, ""],
    low: float,
    high: float,
) -> Float[Array, "b"]:
    return gaussian(_location(outputs, low, high), x, log_scale)


def _discretized_logistic_log_prob(
    outputs: Float[Array, "b *shape"],
    x: Float[Array, "b *shape"],
    log_scale: Float[Array, ""],
    low: float,
    high: float,
) -> Float[Array, "b"]:
    return discretized_logistic(_location(outputs, low, high), x, log_scale, 256, low, high)


LIKELIHOODS: Mapping[str, Likelihood] = {
    "bernoulli": Likelihood(_bernoulli_log_prob, _bernoulli_mean, has_scale=False),
    "gaussian": Likelihood(_gaussian_log_prob, _location_mean, has_scale=True),
    "discretized_logistic": Likelihood(_discretized_logistic_log_prob, _location_mean, has_scale=True),
}


def _bounded(log_scale: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.clip(at_least_float32(log_scale), -MAX_LOG_SCALE, MAX_LOG_SCALE)
