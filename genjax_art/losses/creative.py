"""Losses of creative and informed generators: style ambiguity, style entropy, class and code recovery.

Creative adversarial network: Elgammal et al. 2017 (arXiv:1706.07068).  The discriminator's style head learns
the styles of real art (`label_cross_entropy`); the generator is rewarded where that head cannot name the
style of its pictures (`style_ambiguity`, `binary_style_ambiguity`), the gradient running through the head
into G.
"""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.losses.precision import at_least_float32
from genjax_art.losses.variational import gaussian


def style_ambiguity(logits: Float[Array, "b k"]) -> Float[Array, "b"]:
    """-1/K sum_k log p_k, nats: the cross-entropy of the uniform distribution to the softmax; least ln K.

    Elgammal et al. 2017: the cross-entropy by which it explains ambiguity (arXiv:1706.07068).
    """
    return -jnp.mean(_log_probabilities(logits), axis=-1)


def binary_style_ambiguity(logits: Float[Array, "b k"]) -> Float[Array, "b"]:
    """-sum_k [1/K log p_k + (1 - 1/K) log(1 - p_k)], nats: K binary questions with target 1/K, softmax p.

    Elgammal et al. 2017, last term of the game's objective (arXiv:1706.07068).  1 - p_k of the surest class
    is summed from the others, as exp(log p_k) rounds to 1 from a logit of 17 on and leaves log 0.
    """
    classes = _several_classes(logits)
    log_p = _log_probabilities(logits)
    surest = jax.nn.one_hot(jnp.argmax(log_p, axis=-1), classes, dtype=bool)
    rest = jax.nn.logsumexp(jnp.where(surest, -jnp.inf, log_p), axis=-1, keepdims=True)
    at_most_half = jnp.where(surest, 0.0, jnp.exp(log_p))
    log_not_p = jnp.where(surest, rest, jnp.log1p(-at_most_half))
    return -jnp.sum(log_p / classes + (1.0 - 1.0 / classes) * log_not_p, axis=-1)


def style_entropy(logits: Float[Array, "b k"]) -> Float[Array, "b"]:
    """-sum_k p_k log p_k of the softmax, nats: 0 for a certain style head, ln K for equally likely styles."""
    log_p = _log_probabilities(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def normalised_style_entropy(logits: Float[Array, "b k"]) -> Float[Array, "b"]:
    """Style entropy over ln K: 0 to 1, comparable between data sets with different numbers of styles."""
    return style_entropy(logits) / math.log(_several_classes(logits))


def label_cross_entropy(logits: Float[Array, "b k"], label: Int[Array, "b"]) -> Float[Array, "b"]:
    """-log p_label of the softmax, nats.

    For a style head or an auxiliary classifier: Odena et al. 2017 (arXiv:1610.09585).  For a
    categorical code c: minus the bound on its mutual information with the picture, but for the constant H(c):
    InfoGAN, Chen et al. 2016 (arXiv:1606.03657).
    """
    return optax.softmax_cross_entropy_with_integer_labels(at_least_float32(logits), label)


def gaussian_code_loss(
    mean: Float[Array, "b d"], code: Float[Array, "b d"], log_scale: Float[Array, ""] | Float[Array, "b d"]
) -> Float[Array, "b"]:
    """-log N(code; mean, e^(2 log_scale)), nats, summed over a continuous code's d numbers.

    InfoGAN, Chen et al. 2016, with a factored Gaussian Q(c|x) (arXiv:1606.03657).
    """
    return -gaussian(mean, code, log_scale)


def _log_probabilities(logits: Float[Array, "b k"]) -> Float[Array, "b k"]:
    return jax.nn.log_softmax(at_least_float32(logits), axis=-1)


def _several_classes(logits: Float[Array, "b k"]) -> int:
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(f"style logits of {classes} class; ambiguity needs 2 or more: take data with more styles")
    return classes
