"""Samples between the classes that a run knows."""

from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32

from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold
from genjax_art.latents import Spread, example_keys, rows
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(
    run: Run,
    out: Output,
    *,
    label: tuple[str, ...],
    stages: int = 7,
    n: int = 6,
    seed: int = 0,
    truncation: float | None = None,
    temperature: float = 1.0,
) -> list[Path]:
    """The same samples from one class to the next: a row each, the latents stay and the shares of the classes change.

    Where a network looks a class up it takes the mean of the rows by these shares, as between two classes of BigGAN
    (Brock et al. 2019, arXiv:1809.11096, 4.2), so at both ends are the samples of the classes themselves.

    Args:
      label: two classes or more, passed in this order.
      stages: columns, from the first class to the last.
      n: rows.
      seed: of latents and what a decoder draws.
      truncation: latents within [-t, t] only: more typical, less diverse samples.
      temperature: factor of the latents' standard deviation.

    Raises:
      RunError: a run that is not conditional.
      UsageError: fewer than two classes, no such class, or fewer stages than classes.
    """
    if not run.method.classes:
        raise RunError("this run knows no classes: mix needs a conditional one, such as icons-gan")
    if len(label) < 2:
        asked, known = (f"got {label[0]} alone" if label else "got none"), ", ".join(run.method.classes)
        raise UsageError(f"mix needs two classes or more, {asked}: give --label some of {known}")
    if stages < len(label):
        raise UsageError(f"--stages must be at least {len(label)}, one for each class, got {stages}")
    numbers = [int(found[0]) for name in label if (found := run.labels(1, seed, name)) is not None]
    shares = passing(numbers, stages, len(run.method.classes))
    key = jax.random.key(seed)
    z = run.draw(fold(key, "latents"), n, np.full(n, numbers[0], np.int32), Spread(temperature, truncation))
    row, stage = np.repeat(np.arange(n), stages), np.tile(np.arange(stages), n)
    x = run.decode(rows(z, row), shares[stage], example_keys(fold(key, "decoder"), n)[row])
    about = {**run.about(seed), "mixed": ", ".join(run.method.classes[number] for number in numbers)}
    return out.table(run, x, stages, about, None)


def passing(numbers: list[int], stages: int, classes: int) -> Float32[np.ndarray, "stages classes"]:
    """Shares of the classes on a way through those of these numbers, each of which has a stage of its own, in steps as
    equal as that allows; each row sums to 1."""
    shares = np.zeros((stages, classes), np.float32)
    own = np.rint(np.linspace(0, stages - 1, len(numbers)))
    place = np.interp(np.arange(stages), own, np.arange(len(numbers)))
    leg = np.minimum(place.astype(int), len(numbers) - 2)
    for row, (at, one) in enumerate(zip(place, leg, strict=True)):
        first, second = list(pairwise(numbers))[one]
        shares[row, first] += 1.0 - (at - one)
        shares[row, second] += at - one
    return shares
