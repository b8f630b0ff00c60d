"""Samples between the classes that a run knows."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold, key_of
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
    numbers = np.concatenate([run.labels(1, seed, name) for name in label])
    shares = passing(numbers, stages, len(run.method.classes))
    key = key_of(seed)
    z = run.draw(fold(key, "latents"), n, np.repeat(numbers[:1], n), Spread(temperature, truncation))
    row, stage = np.repeat(np.arange(n), stages), np.tile(np.arange(stages), n)
    x = run.decode(rows(z, row), shares[stage], example_keys(fold(key, "decoder"), n)[row])
    about = {**run.about(seed), "mixed": ", ".join(run.method.classes[number] for number in numbers)}
    return out.table(run, x, stages, about, None)


def passing(numbers: Int[np.ndarray, " k"], stages: int, classes: int) -> Float32[np.ndarray, "stages classes"]:
    """Shares of the classes on a way through those of these numbers, each of which has a stage of its own, in steps as
    equal as that allows; each row sums to 1."""
    path = np.eye(classes, dtype=np.float32)[numbers]
    own = np.rint(np.linspace(0, stages - 1, len(numbers)))
    place = np.interp(np.arange(stages), own, np.arange(len(numbers)))
    leg = np.minimum(place.astype(int), len(numbers) - 2)
    beyond = (place - leg)[:, None].astype(np.float32)
    return (1 - beyond) * path[leg] + beyond * path[leg + 1]
