"""A long training of tiny steps: do memory, open files or the time of a step grow?

python -m genjax_art.benchmark endurance [--steps 20000] [--json FILE]

The first quarter of the run is its start; the medians of the second and of the last quarter are compared. Exit 1 where
memory has grown by more than 5 %, open files by more than 2, or steps are slower by a half (the machine may be busy).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from genjax_art.benchmark.chaos import TRAIN, ending
from genjax_art.errors import RunError, UsageError
from genjax_art.options import parse
from genjax_art.train.rows import METRICS_FILE, read_metrics

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
BATCH = 8
WORDS = ("mlp-gan", "--model.width", "8", "--batch-size", str(BATCH), "--parallel", "jit", "--log-every", "50")
MOST = {"memory_mb": 1.05, "open_files": 1.0, "ms_per_step": 1.5}  # times what it was
SLACK = {"memory_mb": 0.0, "open_files": 2.0, "ms_per_step": 0.0}  # and so much more


@dataclass(frozen=True)
class Command:
    """Watch a training of tiny steps."""

    steps: int = 20_000
    """How many steps."""
    json: Path | None = None
    """Also write the numbers here."""


def watch(folder: Path, steps: int) -> dict[str, list[float]]:
    """Memory (MB), open files and milliseconds a step along a training in `folder`, in its order.

    Raises:
      RunError: it fails, or this system does not tell (it has no /proc).
    """
    often = max(50, steps // 40)
    words = [*WORDS, "--steps", steps, "--save-every", often, "--sample-every", often, "--run-dir", folder]
    command = [sys.executable, str(TRAIN), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child, ending(child):
        found = watched(child, folder)
    if child.returncode:
        raise RunError(f"the training ended with {child.returncode}")
    speeds = [row["images_per_second"] for row in read_metrics(folder / METRICS_FILE) if "images_per_second" in row]
    found["ms_per_step"] = [1e3 * BATCH / speed for speed in speeds]
    return found


def watched(child: subprocess.Popen[bytes], folder: Path) -> dict[str, list[float]]:
    """Memory and open files of a training as long as it lives, without its last look: it may have been ending."""
    process = Path("/proc") / str(child.pid)
    found: dict[str, list[float]] = {name: [] for name in MOST}
    while child.poll() is None:
        if (folder / METRICS_FILE).exists():
            try:
                pages = int((process / "statm").read_text().split()[1])
                files = len(list((process / "fd").iterdir()))
            except (OSError, IndexError):  # it has just ended, or there is no /proc
                if child.poll() is None and not process.exists():
                    child.kill()
                    raise RunError("this system does not tell the memory of a process") from None
                continue
            if pages and files:  # neither where it is ending
                found["memory_mb"].append(pages * PAGE / 2**20)
                found["open_files"].append(files)
        time.sleep(0.1)
    return {name: values[:-1] or values for name, values in found.items()}


def grown(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the second and of the last quarter."""
    quarter = max(1, len(values) // 4)
    return median(values[quarter : 2 * quarter] or values), median(values[-quarter:])


def row(name: str, values: Sequence[float]) -> dict[str, Any]:
    before, after = grown(values)
    return {"name": name, "before": before, "after": after, "fine": after <= before * MOST[name] + SLACK[name]}


def main(arguments: Sequence[str]) -> None:
    command = parse(Command, arguments, "python -m genjax_art.benchmark endurance", __doc__)
    if command.steps < 100:
        raise UsageError(f"--steps must be at least 100, got {command.steps}")
    with tempfile.TemporaryDirectory() as folder:
        found = watch(Path(folder) / "run", command.steps)
    rows = [row(name, values) for name, values in found.items()]
    for each in rows:
        print(line(each))
    if command.json is not None:
        command.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if bad := [each["name"] for each in rows if not each["fine"]]:
        raise RunError(f"grown: {', '.join(bad)}")


def line(row: Mapping[str, Any]) -> str:
    verdict = "holds" if row["fine"] else "FAILS"
    return f"{verdict:6s} {row['name']:12s} {row['before']:10.2f} in the second quarter, {row['after']:.2f} in the last"
