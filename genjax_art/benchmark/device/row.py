"""A row of the accelerator benchmark, and how steps are timed for it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from genjax_art.config import Experiment

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Row:
    """What was measured, and whether a check holds (None: nothing was checked)."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    holds: bool | None = None
    note: str = ""


def in_precision(experiment: Experiment, precision: str) -> Experiment:
    """The experiment with all its networks in that precision."""
    return dataclasses.replace(experiment, precision=(precision,))
