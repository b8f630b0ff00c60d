"""Optax optimizers and schedules by name, and the decay of a parameter average by half-life."""

from collections.abc import Callable, Mapping
from math import ceil
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError


def constant(peak: float, steps: int, *, warmup_steps: int = 0) -> optax.Schedule:
    """`peak` throughout, after a linear warm-up.

    Args:
      peak: the learning rate.
      steps: of the run; not used.
      warmup_steps: steps over which the learning rate rises linearly from 0.
    """
    del steps
    return _warm_up(optax.constant_schedule(peak), peak, warmup_steps)


def cosine(peak: float, steps: int, *, warmup_steps: int = 0, final: float = 0.0) -> optax.Schedule:
    """Half a cosine from `peak` to `final * peak` at the end of the run (SGDR, arXiv:1608.03983).

    Args:
      peak: the highest learning rate.
      steps: of the run.
      warmup_steps: steps over which the learning rate rises linearly from 0.
      final: learning rate at the end of the run, as a fraction of the peak.
    """
    return _warm_up(optax.cosine_decay_schedule(peak, max(1, steps - warmup_steps), alpha=final), peak, warmup_steps)


def linear(peak: float, steps: int, *, warmup_steps: int = 0, start: float = 0.0, final: float = 0.0) -> optax.Schedule:
    """`peak` for a while, then a straight line to `final * peak` at the end of the run.

    Args:
      peak: the highest learning rate.
      steps: of the run.
      warmup_steps: steps over which the learning rate rises linearly from 0.
      start: where the line begins, as a fraction of the run's steps, but not before the end of the warm-up.
      final: learning rate at the end of the run, as a fraction of the peak.
    """
    begin = max(int(start * steps), warmup_steps)
    decay = optax.linear_schedule(peak, final * peak, max(1, steps - begin), begin - warmup_steps)
    return _warm_up(decay, peak, warmup_steps)


def burn_in(
    peak: float, steps: int, *, warmup_steps: int = 0, over: int = 10_000, final: float = 0.25
) -> optax.Schedule:
    """Half a cosine from `peak` to `final * peak` over the first `over` steps after the warm-up, and that from then on.

    R3GAN's, arXiv:2501.05441, appendix; its learning rate on CIFAR-10 goes from 2e-4 to 5e-5 over 20 M images.

    Args:
      peak: the highest learning rate.
      steps: of the run; not used.
      warmup_steps: steps over which the learning rate rises linearly from 0.
      over: steps over which the learning rate falls, counted from the end of the warm-up.
      final: learning rate after that, as a fraction of the peak.
    """
    del steps
    return _warm_up(cosine_between(peak, final * peak, over), peak, warmup_steps)


def cosine_between(start: float, final: float, over: int) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """A function of the step: `start` at 0, half a cosine to `final` at step `over`, `final` from then on."""

    def at(step: Int[Array, ""]) -> Float[Array, ""]:
        done = jnp.clip(jnp.asarray(step).astype(jnp.float32) / max(over, 1), 0.0, 1.0)
        return start + (final - start) * jnp.sin(0.5 * jnp.pi * done) ** 2  # exact near the start, unlike 1 - cos

    return at


def _warm_up(schedule: optax.Schedule, peak: float, steps: int) -> optax.Schedule:
    return (
        schedule if steps == 0 else optax.join_schedules([optax.linear_schedule(0.0, peak, steps), schedule], [steps])
    )


SCHEDULES: Mapping[str, Callable[..., optax.Schedule]] = MappingProxyType(
    {"burn_in": burn_in, "constant": constant, "cosine": cosine, "linear": linear}
)


# what options of the optimizers and schedules here may be, by their names
DECAYS = ("b1", "b2", "final_b2", "momentum", "decay")  # per step: from 0, below 1
NOT_NEGATIVE = ("eps", "weight_decay", "warmup_steps", "begin", "over", "start", "final")


def check_optimizer(learning_rate: float, clip: float | None, options: Mapping[str, Any]) -> None:
    """Raises UsageError for numbers that make no sense: gradients would be climbed, or not followed at all."""
    if learning_rate < 0 or (clip is not None and clip <= 0):
        raise UsageError(
            f"--optimizers.PLAYER.learning-rate is at least 0 and .clip above 0, got {learning_rate:g} and {clip}"
        )
    for name, value in options.items():
        if isinstance(value, int | float):
            if name in DECAYS and not 0 <= value < 1:
                raise UsageError(f"{name} of an optimizer is a decay, from 0 to below 1, got {value:g}")
            if name in NOT_NEGATIVE and value < 0:
                raise UsageError(f"{name.replace('_', '-')} of an optimizer must be at least 0, got {value:g}")


def adam(
    learning_rate: optax.ScalarOrSchedule, *, b1: float = 0.5, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam (arXiv:1412.6980).

    Args:
      learning_rate: a number or a function of the step.
      b1: decay per step of the gradient's moving average; 0.5 is the custom of GANs since DCGAN (arXiv:1511.06434).
      b2: decay per step of the squared gradient's moving average.
      eps: added to the root of that average, against a division by zero.
    """
    return optax.adam(learning_rate, b1, b2, eps)


def adam_burn_in(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: float = 0.0,
    b2: float = 0.9,
    final_b2: float = 0.99,
    over: int = 10_000,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam whose b2 goes from `b2` to `final_b2` in half a cosine over the first `over` updates (arXiv:2501.05441).

    The debiasing of the second moment takes each update's own b2, as R3GAN's optimizer does.

    Args:
      learning_rate: a number or a function of the step.
      b1: decay per step of the gradient's moving average.
      b2: decay per step of the squared gradient's moving average, at the first update.
      final_b2: that decay after the burn-in.
      over: updates that the burn-in lasts.
      eps: added to the root of the squared gradient's average, against a division by zero.
    """
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "eps"))
    return adam(learning_rate=learning_rate, b1=b1, b2=cosine_between(b2, final_b2, over), eps=eps)


def adamw(
    learning_rate: optax.ScalarOrSchedule, *, b1: float = 0.9, b2: float = 0.999, weight_decay: float = 1e-4
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (arXiv:1711.05101).

    Args:
      learning_rate: a number or a function of the step.
      b1: decay per step of the gradient's moving average.
      b2: decay per step of the squared gradient's moving average.
      weight_decay: fraction of each parameter, times the learning rate, that a step takes away.
    """
    return optax.adamw(learning_rate, b1, b2, weight_decay=weight_decay)


def rmsprop(learning_rate: optax.ScalarOrSchedule, *, decay: float = 0.99) -> optax.GradientTransformation:
    """RMSProp, the optimizer of the WGAN paper (arXiv:1701.07875, algorithm 1).

    Args:
      learning_rate: a number or a function of the step.
      decay: per step, of the squared gradient's moving average.
    """
    return optax.rmsprop(learning_rate, decay)


def sgd(learning_rate: optax.ScalarOrSchedule, *, momentum: float = 0.0) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum.

    Args:
      learning_rate: a number or a function of the step.
      momentum: fraction of the last update that is added to the next one; 0 is plain gradient descent.
    """
    return optax.sgd(learning_rate, momentum)


OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = MappingProxyType(
    {"adam": adam, "adam_burn_in": adam_burn_in, "adamw": adamw, "rmsprop": rmsprop, "sgd": sgd}
)


def clipped(tx: optax.GradientTransformation, norm: float | None) -> optax.GradientTransformation:
    """`tx` on gradients whose global norm is at most `norm`; `tx` itself for None."""
    return tx if norm is None else optax.chain(optax.clip_by_global_norm(norm), tx)


def half_life(
    images: float, images_per_step: int, burn_in_images: float = 0.0
) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """Decay per step of an average with a half-life in images, warmed up.

    In the first steps the half-life is at most a twentieth of the images seen (EDM, arXiv:2206.00364, appendix
    F.2, with its ramp-up ratio of 0.05), so that the random initial parameters are forgotten at once. With a burn-in
    it goes instead from 0 to `images` in half a cosine over that many images (R3GAN, arXiv:2501.05441, appendix).
    """
    rising = cosine_between(0.0, images, ceil(burn_in_images / images_per_step)) if burn_in_images else None

    def decay(step: Int[Array, ""]) -> Float[Array, ""]:
        seen = (step.astype(jnp.float32) + 1.0) * images_per_step
        current = rising(step) if rising else jnp.minimum(images, 0.05 * seen)
        return jnp.exp2(-images_per_step / current)

    return decay
