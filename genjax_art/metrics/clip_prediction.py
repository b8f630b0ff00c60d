"""How well a run goes on from given frames: beside what followed, and beside standing still."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float64

from genjax_art.keys import fold, key_of
from genjax_art.metrics.clip_controls import shuffled, with_controls
from genjax_art.metrics.row import Better, of_mean, row_by
from genjax_art.metrics.similarity import WINDOW, clip_ssim
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

AT_ONCE = 250  # clips


def squared_errors(
    x: Float[np.ndarray, "n t h w c"], y: Float[np.ndarray, "n t h w c"], span: float
) -> Float64[np.ndarray, " n"]:
    """The sum over a frame's pixels and channels of squared errors of values from 0 to 1, as the mean over frames: the
    MSE of papers on Moving MNIST (Shi et al. 2015, arXiv:1506.04214, and later ones), which is no mean over pixels."""
    return np.sum(((x.astype(np.float64) - y) / span) ** 2, (2, 3, 4)).mean(1)


def measure(subject: Subject, *, clips: int = 256) -> dict[str, Any]:
    """MSE and SSIM of the second half of held-out clips, predicted from the first half, where the run can `proceed`.

    Means over frames and clips. The prediction is one draw, as `continue` makes it. Controls: the last given frame
    repeated, and the given frames in another order.

    Args:
      clips: held-out ones that are continued, evenly chosen.
    """
    run, seed, span = subject.run, subject.seed, subject.spec.high - subject.spec.low
    if "proceed" not in run.method.abilities:
        return {}
    x = subject.in_range(subject.held.take(evenly(len(subject.held), clips))["x"])
    given = x.shape[1] // 2
    after = x[:, given:]
    ways = {"": proceeded(subject, x, given)[:, given:]}
    ways["last frame"] = np.repeat(x[:, given - 1 : given], after.shape[1], 1)
    if given == after.shape[1]:
        ways["given ones shuffled"] = shuffled(x[:, :given], seed)
    kinds: list[tuple[str, Any, Better]] = [("prediction_MSE", squared_errors, "low")]
    if min(x.shape[2:4]) >= WINDOW:
        kinds.append(("prediction_SSIM", clip_ssim, "high"))
    unit, n, found = f"{given} frames given, {after.shape[1]} predicted", len(x), {}
    for name, of, better in kinds:
        figures = {word: of_mean(of(y, after, span), seed) for word, y in ways.items()}
        own = figures.pop("")
        row = row_by(unit, name, lambda: own, None, better=better, unit=unit, n_real=n, n_fake=n, seed=seed)  # noqa: B023
        found[name] = with_controls(row, figures)
    return found


def proceeded(subject: Subject, x: Float[np.ndarray, "n t h w c"], given: int) -> Float[np.ndarray, "n t h w c"]:
    """The clips with what follows their first `given` frames made anew."""
    run = subject.run
    step = jax.jit(run.method.abilities["proceed"], static_argnums=2)
    key = fold(key_of(subject.seed), "prediction")
    blank = np.concatenate([x[:, :given], np.full_like(x[:, given:], subject.spec.low)], 1)  # nothing to peep at
    pieces = range(0, len(x), AT_ONCE)
    made = [step(run.weights, blank[at : at + AT_ONCE], given, jax.random.fold_in(key, at)) for at in pieces]
    return np.concatenate([np.asarray(piece) for piece in made])
