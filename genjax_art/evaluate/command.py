"""How runs are to be judged: options of every command that judges some, and of `judged.judge` called from Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from genjax_art.cli import expand_homes
from genjax_art.errors import UsageError
from genjax_art.options import parse


@dataclass(frozen=True)
class Judging:
    """What is drawn from a run, beside which data it is held, and what sees both."""

    features: str | None = None
    """What sees the examples: own-classifier, own-contrastive, own-clips, scattering, pixels-pca64, or
    my_module:extractor (default: of clips own-clips, else by the data's labels, where there are some)."""
    inception: Path | None = None
    """A file with the weights of Inception v3 (the well-known .pth, or .safetensors): figures are FID and KID then."""
    n: int | None = None
    """How many samples are measured (default: 1000, of clips 2048); of held-out music all pieces are."""
    seed: int = 0
    """Of the samples."""
    split: str | None = None
    """The held-out data (default: test, validation or val, that the run was not trained on, else what its own slice
    leaves)."""
    checkpoint: str = "latest"
    """latest, best or a step."""
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure the parameters themselves instead of their moving average."""
    data_dir: Path | None = None
    """Where prepared sets lie; needed where the run names another directory than the default one."""
    folder: Path | None = None
    """Where your files lie now, if they were moved since the training."""
    trust: tuple[str, ...] = ()
    """Modules from outside this package that the run names and that may be imported."""

    def check(self) -> None:
        """Raises UsageError for fewer than two samples, or two extractors."""
        if self.n is not None and self.n < 2:
            raise UsageError(f"--n must be at least 2, got {self.n}")
        if self.features and self.inception:
            raise UsageError("--features and --inception name two extractors: leave one out")

    @property
    def which(self) -> Literal["raw", "default"]:
        return "raw" if self.raw else "default"


@dataclass(frozen=True)
class EvaluateCommand(Judging):
    """Measure runs on held-out data, and say what the figures mean."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders that train.py made; of several the figures are compared, where they can be."""
    metrics: tuple[str, ...] = ()
    """Names of measures, or my_module:measure (default: those of the medium)."""
    out: Path | None = None
    """Folder of the page, the pictures and results.json (default: evaluation in the first run's folder)."""
    json: Path | None = None
    """Write the numbers there too."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""


def parse_evaluate(arguments: Sequence[str]) -> EvaluateCommand:
    """The command of `python -m genjax_art.evaluate RUN [--options]`.

    Raises:
      UsageError: words that it does not know, or no run.
    """
    command = parse(EvaluateCommand, expand_homes(arguments), "python -m genjax_art.evaluate")
    if not command.runs:
        raise UsageError("name a run: python -m genjax_art.evaluate RUN [RUN ...]")
    return command
