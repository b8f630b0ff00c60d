"""What stays the same of one clip with what moves in another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax_art.errors import RunError, UsageError
from genjax_art.keys import fold, key_of
from genjax_art.latents import Latents, Spread, count, rows
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(
    run: Run,
    out: Output,
    *,
    file: tuple[Path, ...] = (),
    n: int = 4,
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    temperature: float = 1.0,
) -> list[Path]:
    """A table of clips: along a row the content stays, down a column the motion; of samples, or of files of yours.

    Samples themselves are on its diagonal. With files there is a row and a column more, first, that show them, and on
    the diagonal is what the run makes of each.

    Args:
      file: two clips of yours or more, of which the first frames are taken; needs an encoder.
      n: how many contents and as many motions (without files).
      seed: of latents and of the class.
      label: the class of all of them (of a conditional run).
      truncation: latents within [-t, t] only: more typical, less diverse samples.
      temperature: factor of the latents' standard deviation.

    Raises:
      UsageError: n < 1, or one file. RunError: a run whose latents are not content and motion, or without an encoder;
        a file that is too short.
    """
    if file and len(file) < 2:
        raise UsageError(f"swap takes no file or two and more; got {len(file)}")
    one = run.labels(1, seed, label)
    x = None if not file else np.stack([first_frames(path, run) for path in file])
    if x is None:
        key = fold(key_of(seed), "latents")
        z = run.draw(key, n, None if one is None else np.repeat(one, n), Spread(temperature, truncation))
    else:
        z = run.encode(x, None if one is None else np.repeat(one, len(x)))
    if not has_content_and_motion(z):
        raise RunError("this run's latents are not content and motion: choose a run on clips, such as video-vae-shapes")
    pairs = crossed(z)
    labels = None if one is None else np.repeat(one, count(pairs))
    made = run.decode(pairs, labels)
    if x is None:
        return out.samples(run, made, run.about(seed), labels)
    shown = with_sources(made, x, run.spec.low)
    about = {**run.about(seed), **{f"of_{i}": path.name for i, path in enumerate(file)}}
    return out.samples(run, shown, about, None if one is None else np.repeat(one, len(shown)))


def has_content_and_motion(z: Latents) -> bool:
    """Whether what stays the same and what moves are different latents, by these names."""
    return isinstance(z, Mapping) and {"content", "motion"} <= z.keys()


def crossed(z: Latents) -> dict[str, Any]:
    """The latents of a table, row by row: all else as the content, of the row, and "motion" of the column."""
    n = count(z)
    row, column = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    return {name: rows(leaf, column if name == "motion" else row) for name, leaf in z.items()}


def with_sources(
    table: Float[np.ndarray, "nn *shape"], sources: Float[np.ndarray, "n *shape"], empty: float
) -> Float[np.ndarray, "mm *shape"]:
    """The n x n table with its sources as a first row and column, and an empty corner."""
    n = len(sources)
    corner = np.full((1, *sources.shape[1:]), empty, sources.dtype)
    lines = [np.concatenate([sources[i : i + 1], table[i * n : (i + 1) * n]]) for i in range(n)]
    return np.concatenate([corner, sources, *lines])


def first_frames(file: Path, run: Run) -> Float[np.ndarray, "*shape"]:
    """As many frames of a file of the user's as an example has.

    Raises:
      RunError: it has fewer, or the medium reads no files.
    """
    reading, frames = run.read(file), run.spec.shape[0]
    if len(reading.whole) < frames:
        raise RunError(
            f"{reading.name} has {len(reading.whole)} frames and this run's clips {frames}: take a longer one"
        )
    return reading.whole[:frames]
