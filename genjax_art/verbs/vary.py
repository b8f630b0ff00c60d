"""Variations on a file of the user's."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from genjax_art.errors import UsageError
from genjax_art.keys import fold, key_of
from genjax_art.latents import Latents, count, joined, rows
from genjax_art.media import medium
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(
    run: Run,
    out: Output,
    *,
    file: Path,
    amount: float = 0.5,
    n: int = 1,
    seed: int = 0,
    label: str | None = None,
) -> list[Path]:
    """Variations of a file of yours, each as long as it is; needs an encoder (a VAE).

    Every window of it is encoded to its mean mu, and z = sqrt(1 - amount^2) mu + amount e is decoded, to the likeliest,
    with e drawn from the prior.

    Args:
      file: the music, picture or clip to vary.
      amount: from 0, the file as the run knows it, to 1, another one.
      n: how many variations.
      seed: of what is drawn.
      label: the class that the file is of (of a conditional run).

    Raises:
      UsageError: n < 1 or an amount outside 0..1. RunError: no encoder, or a medium that reads no files.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1 variation, got {n}")
    if not 0 <= amount <= 1:
        raise UsageError(f"--amount must lie in 0 to 1, got {amount:g}")
    reading = run.read(file)
    x = medium.windows(reading.whole, run.spec)
    one = run.labels(1, seed, label)
    own = run.encode(x, None if one is None else np.repeat(one, len(x)))
    z = joined([rows(own, np.arange(len(x)))] * n)
    labels = None if one is None else np.repeat(one, count(z))
    new = run.draw(fold(key_of(seed), "variations"), count(z), labels)
    between = run.method.abilities.get("between", _mixed)
    made = run.decode(between(z, new, np.full(count(z), amount, np.float32)), labels)
    versions = [medium.whole_of(version, len(reading.whole), run.spec) for version in np.split(made, n)]
    about = {**run.about(seed), "of": reading.name, "amount": f"{amount:g}"}
    return out.wholes(run, versions, about, rate=reading.rate, in_one=False)


def _mixed(mu: Latents, noise: Latents, amount: Float[np.ndarray, " n"]) -> Latents:
    """sqrt(1 - amount^2) mu + amount e leaf by leaf, of the variance of e where mu has it; of codes the larger part."""

    def of_leaf(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        share = amount.reshape(-1, *(1 for _ in a.shape[1:]))
        if not np.issubdtype(a.dtype, np.floating):
            return np.where(share < 0.5, a, b)
        return (np.sqrt(1 - share**2) * a + share * b).astype(a.dtype)

    return jax.tree.map(of_leaf, mu, noise)
