"""A GAN of clips with two judges: one is given random frames of each clip, the other the whole clip.

MoCoGAN, Tulyakov et al. 2018 (arXiv:1707.04993). The first sees to it that frames are sharp and of the data, the
second that they follow one another as in the data and show the same thing. Of several frames the first judges each for
itself (DVD-GAN, Clark et al. 2019, arXiv:1907.06571).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genjax_art.errors import UsageError
from genjax_art.keys import fold
from genjax_art.latents import Latents, Spread
from genjax_art.models.precision import as_in
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.gan import play_judges
from genjax_art.objectives.judge import Judge
from genjax_art.objectives.method import Method, Weights
from genjax_art.objectives.rounds import G
from genjax_art.objectives.rules import NO_GENERATOR_PENALTIES, NO_PENALTIES, Rules, Value
from genjax_art.shards import global_draw
from genjax_art.spec import ArraySpec, Key

FRAMES, CLIPS = "frames", "clips"
RULES = Rules(penalties={**NO_PENALTIES, "r1": 0.5})
FRAME_PENALTIES: Mapping[str, Value] = {**NO_PENALTIES, "r1": 0.05}


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    frames_judged: int = 1,
    frame_penalties: Mapping[str, Value] = FRAME_PENALTIES,
    frame_weight: float = 1.0,
    rules: Rules = RULES,
) -> Method:
    """The players `frames`, `clips` and `generator`.

    Args:
      networks: `generator`(z, label, train) -> x [b, t, h, w, c] with a field `classes` (0: unconditional) and
        draw(normal, key, n, frames) -> {"content": [n, c], "motion": [n, frames, m]}; `frames` and `clips`,
        (x, label, train) -> {"logits": [b], ...}.
      frames_judged: how many random frames of each clip the judge of frames is given.
      frame_penalties: weights of the regularisers of the judge of frames, as `penalties` are of the judge of clips.
      frame_weight: of the judge of frames in the generator's loss; that of the judge of clips is 1.
      rules: of both judges, but for the penalties; see `Rules`.

    Metrics: as of `objectives/gan.py`, for each judge.
    Abilities: longer(weights, key, n, label, spread, frames), the latents of clips of so many frames, which begin as
    those that are drawn with the same key.

    Raises:
      UsageError: networks of another kind, more frames than a clip has, or as `objectives/gan.py`.
      RunError: as `objectives/gan.py`.
    """
    if not {FRAMES, CLIPS, G} <= set(networks) or not hasattr(networks[G], "draw"):
        raise UsageError("objective video_gan needs judges of frames and of clips: use --model.name mocogan")
    check_objective(1, spec.shape[0], frames_judged=frames_judged)
    later = replace(rules, generator_penalties=NO_GENERATOR_PENALTIES, shared_latents=True)  # the first judge has them
    of_frames, view = networks[FRAMES], a_frame
    if frames_judged > 1:
        of_frames, view = as_in(of_frames, EachFrame(of_frames)), partial(some_frames, count=frames_judged)
    judges = (
        Judge(of_frames, replace(rules, penalties=frame_penalties), FRAMES, view=view, weight=frame_weight),
        Judge(networks[CLIPS], later, CLIPS),
    )
    draw: Callable[..., Latents] = networks[G].draw
    method = play_judges(networks[G], judges, spec, transforms, draw=draw)

    def longer(weights: Weights, key: Key, n: int, label: Array | None, spread: Spread, frames: int) -> Latents:
        del weights, label
        z, beyond = draw(spread.normal, key, n), frames - spec.shape[0]
        if beyond <= 0:
            return {**z, "motion": z["motion"][:, :frames]}
        rest = draw(spread.normal, fold(key, "longer"), n, beyond)["motion"]
        return {**z, "motion": jnp.concatenate([z["motion"], rest], 1)}

    abilities: dict[str, Callable[..., Any]] = {**method.abilities, "longer": longer}
    return replace(method, abilities=abilities)


def a_frame(x: Float[Array, "b t h w c"], key: Key) -> Float[Array, "b h w c"]:
    """A random frame of each clip."""
    place = global_draw(jax.random.randint, key, (len(x),), 0, x.shape[1])
    return jnp.take_along_axis(x, place.reshape(-1, 1, 1, 1, 1), 1)[:, 0]


def some_frames(x: Float[Array, "b t h w c"], key: Key, count: int) -> Float[Array, "b k h w c"]:
    """So many random frames of each clip, none twice."""
    order = jnp.argsort(global_draw(jax.random.uniform, key, x.shape[:2]), axis=1)
    return jnp.take_along_axis(x, order[:, :count, None, None, None], 1)


class EachFrame(nn.Module):
    """A judge of pictures that is given several of each example: the means of what it says of each."""

    judge: nn.Module

    @nn.compact
    def __call__(
        self, x: Float[Array, "b k h w c"], label: Int[Array, " b"] | None, train: bool = True
    ) -> dict[str, Array]:
        rows, count = x.shape[:2]
        each = None if label is None else jnp.repeat(label, count)
        found = self.judge(x.reshape(rows * count, *x.shape[2:]), each, train)
        return {name: jnp.mean(of.reshape(rows, count, *of.shape[1:]), 1) for name, of in found.items()}
