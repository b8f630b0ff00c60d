"""A walk through latent space: closed, through samples; or from one file of the user's to another."""

from pathlib import Path

import jax
import numpy as np

from genjax_art.errors import UsageError
from genjax_art.keys import fold, key_of
from genjax_art.latents import Latents, Spread, closed_walk, count, example_keys, great_circles, joined
from genjax_art.media import medium
from genjax_art.run.load import Run
from genjax_art.spec import Key, Keys
from genjax_art.verbs.output import Output
from genjax_art.verbs.swap import has_content_and_motion


def draw(
    run: Run,
    out: Output,
    *,
    file: tuple[Path, ...] = (),
    n: int = 8,
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    temperature: float = 1.0,
) -> list[Path]:
    """A film (of music: one piece) that passes n samples and ends where it began; or from one file to another.

    A film of clips is one long clip: its content passes those of n samples while its motion goes on.

    Source of the way between two pieces: Roberts et al. 2018 (arXiv:1803.05428).

    Args:
      file: two files of yours, from the one to the other in n stages; needs an encoder.
      n: how many samples the walk passes, or how many stages it has from file to file.
      seed: of latents, labels and what the decoder draws, which is the same in all frames.
      label: keep to this class (of a conditional run).
      truncation: latents within [-t, t] only: more typical, less diverse samples.
      temperature: factor of the latents' standard deviation.

    Raises:
      UsageError: n < 2, or one file or more than two.
    """
    if n < 2:
        what = "stages from the first file to the second" if file else "samples to pass"
        raise UsageError(f"a walk needs --n of at least 2 {what}, got {n}")
    spread = Spread(temperature, truncation)
    if not file:
        return _through_samples(run, out, n, seed, label, spread)
    if len(file) != 2:
        raise UsageError(f"walk takes no file or two, from the one to the other; got {len(file)}")
    return _between_files(run, out, (file[0], file[1]), n, seed, label)


def _through_samples(run: Run, out: Output, n: int, seed: int, label: str | None, spread: Spread) -> list[Path]:
    key = key_of(seed)
    one = run.labels(1, seed, label)  # a walk keeps to one class
    anchors = run.draw(fold(key, "latents"), n, None if one is None else np.repeat(one, n), spread)
    if has_content_and_motion(anchors) and "longer" in run.method.abilities:
        return _through_contents(run, out, anchors, seed, one, spread)
    z = closed_walk(anchors, n * run.medium.frames, run.method.abilities.get("between", great_circles))
    labels = None if one is None else np.repeat(one, count(z))
    x = run.decode(z, labels, _same_keys(key, count(z)))
    return out.walk(run, x, run.about(seed), labels)


def _through_contents(
    run: Run, out: Output, anchors: Latents, seed: int, one: np.ndarray | None, spread: Spread
) -> list[Path]:
    """One clip whose content is another in each frame: that of a sample every so many frames as a clip has.

    The content closes, the motion need not.
    """
    n, frames = count(anchors), count(anchors) * run.spec.shape[0]
    key = fold(key_of(seed), "latents")
    z = dict(jax.device_get(run.ability("longer", "choose another run")(run.weights, key, 1, one, spread, frames)))
    others = {name: leaf for name, leaf in anchors.items() if name != "motion"}
    way = closed_walk(others, frames, run.method.abilities.get("between", great_circles))
    film = run.decode({**jax.tree.map(lambda leaf: leaf[None], way), "motion": z["motion"]}, one)
    about = {**run.about(seed), "contents": str(n)}
    return out.wholes(run, [film[0]], about, rate=run.spec.rate, in_one=True)


def _between_files(run: Run, out: Output, files: tuple[Path, Path], n: int, seed: int, label: str | None) -> list[Path]:
    """Stage k decodes, to the likeliest, the point k / (n - 1) of the way between the means of q(z|x), by windows.

    So the ends are what the run makes of the files. Stages are as long as the shorter file, the rate is the first's.
    """
    readings = [run.read(file) for file in files]
    length = min(len(reading.whole) for reading in readings)
    own = [medium.windows(reading.whole[:length], run.spec) for reading in readings]
    one = run.labels(1, seed, label)
    labels = None if one is None else np.repeat(one, len(own[0]))
    start, end = (run.encode(x, labels) for x in own)
    between = run.method.abilities.get("between", great_circles)
    shares = np.linspace(0.0, 1.0, n, dtype=np.float32)
    z = joined([between(start, end, np.full(len(own[0]), share)) for share in shares])
    x = run.decode(z, None if one is None else np.repeat(one, count(z)))
    stages = [medium.whole_of(stage, length, run.spec) for stage in np.split(x, n)]
    about = {**run.about(seed), "from": readings[0].name, "to": readings[1].name, "stages": str(n)}
    return out.wholes(run, stages, about, rate=readings[0].rate, in_one=True)


def _same_keys(key: Key, n: int) -> Keys:
    """The same key for all frames: neighbours then differ by their latents alone."""
    return example_keys(fold(key, "decoder"), 1)[np.zeros(n, np.int32)]
