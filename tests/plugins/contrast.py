"""A verb in one file: the same samples at falling and rising temperature, a row for each."""

import numpy as np

from genjax_art.latents import Spread


def draw(run, out, *, n: int = 4, seed: int = 0, temperatures: tuple[float, ...] = (0.5, 1.0, 1.5)):
    """The same samples at several temperatures.

    Args:
      n: samples a row.
      seed: of latents and labels.
      temperatures: of the rows.
    """
    x = np.concatenate([run.sample(n, seed, spread=Spread(temperature)) for temperature in temperatures])
    about = {**run.about(seed), "temperatures": " ".join(map(str, temperatures))}
    return out.samples(run, x, about, None)
