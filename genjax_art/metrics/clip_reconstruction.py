"""What a run with an encoder keeps of held-out clips: PSNR and SSIM of their reconstructions, nats per frame."""

from typing import Any

import numpy as np

from genjax_art.errors import UsageError
from genjax_art.keys import fold, key_of
from genjax_art.latents import example_keys
from genjax_art.metrics.clip_controls import controls, with_controls
from genjax_art.metrics.row import Better, Figure, Row, of_mean, row_by
from genjax_art.metrics.similarity import WINDOW, clip_psnr, clip_ssim
from genjax_art.metrics.stream import evenly
from genjax_art.metrics.subject import Subject

HELD_OUT = "held-out clips"


def measure(subject: Subject, *, clips: int = 256) -> dict[str, Any]:
    """PSNR and SSIM of frames reconstructed from the mean of q(z|x), and the bound on the likelihood.

    SSIM is taken of each frame and averaged; it needs 11 pixels. PSNR is that of a clip's mean squared error, as a mean
    over frames would be about the ones that are exact, which the controls have: the clip's own first frame, and its own
    frames in another order, in place of the reconstruction. `nats_per_frame` is -ELBO over the frames, at weights of
    1 whatever the training's were, of one sample of q: of densities for a Gaussian likelihood (below 0 then), of 8-bit
    levels for discretized_logistic, so runs are compared only where `likelihood` is the same. Nothing is found of a run
    without an encoder.

    Args:
      clips: held-out ones that are encoded, evenly chosen.
    """
    run, seed = subject.run, subject.seed
    if clips < 1:
        raise UsageError(f"clips must be at least 1, got {clips}")
    if run.method.encode is None:
        return {}
    rows = subject.held.take(evenly(len(subject.held), clips))
    x = subject.in_range(rows["x"])
    labels = rows["label"] if run.method.classes else None
    made, span = run.decode(run.encode(x, labels), labels), subject.spec.high - subject.spec.low
    kinds = {"PSNR": (clip_psnr, "dB of reconstructions"), "SSIM": (clip_ssim, "of reconstructions")}
    if min(subject.spec.shape[1:3]) < WINDOW:
        del kinds["SSIM"]
    found: dict[str, Any] = {}
    for name, (of, unit) in kinds.items():
        figures = {word: of_mean(of(y, x, span), seed) for word, y in {"": made, **controls(x, seed)}.items()}
        found[name] = with_controls(_row(name, figures.pop(""), "high", unit, len(x), seed), figures)
    return found | nats(subject, x, labels)


def nats(subject: Subject, x: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """The negative bound per frame and its KL parts, of a method with the ability `bound`."""
    run, seed = subject.run, subject.seed
    if "bound" not in run.method.abilities:
        return {}
    parts = run.apply("bound", x, labels, example_keys(fold(key_of(seed), "bound"), len(x)))
    per_frame = {name: of_mean(part / x.shape[1], seed) for name, part in parts.items()}
    value, low, high, _ = per_frame["elbo"]
    bound = _row("nats_per_frame", Figure(-value, -high, -low), "low", "nats of held-out clips", len(x), seed)
    return {
        "nats_per_frame": bound,
        **{f"{name}_per_frame": one.value for name, one in per_frame.items() if name.startswith("kl_")},
        "likelihood": str(run.experiment.objective.options.get("likelihood", "the default of the objective")),
    }


def _row(name: str, figure: Figure, better: Better, unit: str, count: int, seed: int) -> Row:
    return row_by(HELD_OUT, name, lambda: figure, None, better=better, unit=unit, n_real=count, n_fake=count, seed=seed)
