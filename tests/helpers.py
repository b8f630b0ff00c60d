"""What several tests share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:  # conftest imports this before the types are checked of what is imported then
    from genjax_art.data.contract import Source

AXES = re.compile(r"dim_(numbers|labels)")
IN_ORDER = re.compile(r"\[b, ([\d, ]+)f\]x\[\1i, o\]->\[b, \1f\]|b(\d+)f_\2io->b\2f")
DILATION = re.compile(r"lhs_dilate ?= ?(\[[\d, ]+\]|[\dx]+)|batch_group_count ?= ?(\d+)")


def slow_convolutions(text: str) -> list[str]:
    """The lines of a CPU module that hold a convolution with dilated input or batch groups, or not channels last.

    XLA runs those in a slow loop on CPU; it puts axes in order itself, but not in the body of a `lax.scan`. `text` is
    what `jax.jit(f).lower(...).as_text()` (StableHLO) or `.compile().as_text()` (HLO) of it gives.
    """
    return [
        line.strip()
        for line in text.splitlines()
        if any(set(re.findall(r"\d+", match[0])) != {"1"} for match in DILATION.finditer(line))
        or (AXES.search(line) and not IN_ORDER.search(line))
    ]


def write_picture(path: Path, shape: tuple[int, ...] = (40, 30, 3), seed: int = 0) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def examples(source: "Source") -> dict[str, np.ndarray]:
    """All of a source."""
    return source.take(np.arange(len(source)))


def thorough(*values: Any) -> list[Any]:
    """Parameters of tests that are run only where all tests are asked for (several for one test as tuples)."""
    several = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*value, marks=pytest.mark.thorough) for value in several]


_COMPILED: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def share_compiled(patch: pytest.MonkeyPatch) -> None:
    """The runs of one plan have one step and one first state, compiled once, whatever their lengths."""
    from genjax_art.run import training
    from genjax_art.train.resident import HOST

    compiling, first = training.compile_plan, training.initial_state

    def once(make: Callable[[], Any], plan: Any, *more: Any) -> Any:
        parts = (plan.method, plan.ema, training.make_step)  # kept, so that none has another's number
        key = (*map(id, parts), plan.seeds, plan.run.batch_size, plan.run.micro_batches, plan.run.on_nan, *more)
        if key not in _COMPILED:
            _COMPILED[key] = parts, make()
        return _COMPILED[key][1]

    def compile_plan(plan: Any, how: Any, data: Any = HOST) -> Any:
        return once(lambda: compiling(plan, how, data), plan, how) if data is HOST else compiling(plan, how, data)

    patch.setattr(training, "compile_plan", compile_plan)
    patch.setattr(training, "initial_state", lambda plan: once(lambda: first(plan), plan))
