"""Independent samples."""

from pathlib import Path

from genjax_art.latents import Spread
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(
    run: Run,
    out: Output,
    *,
    n: int = 64,
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    temperature: float = 1.0,
) -> list[Path]:
    """Independent samples: pictures in a grid, music one piece after another, or all as the ending of --out asks.

    Args:
      n: how many samples.
      seed: of latents and labels.
      label: only this class (of a conditional run).
      truncation: latents within [-t, t] only: more typical, less diverse samples.
      temperature: factor of the latents' standard deviation: below 1 more typical samples, above 1 stranger ones.
    """
    x = run.sample(n, seed, label, Spread(temperature, truncation))
    return out.samples(run, x, run.about(seed), run.labels(n, seed, label))
