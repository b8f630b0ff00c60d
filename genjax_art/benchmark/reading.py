"""How quickly a folder of pictures is prepared and read, beside a torch DataLoader and TFDS on the same files.

python -m genjax_art.benchmark reading [--count 2000] [--rounds 3] [--json FILE]

The pictures are drawn into a temporary folder. Exit status 1 where a training step of `dcgan-small` takes more pictures
a second than are read.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genjax_art.benchmark.steps import Ours, rows
from genjax_art.data.batches import batches
from genjax_art.data.contract import Source
from genjax_art.data.open import open_source
from genjax_art.data.recipe import Examples, Recipe
from genjax_art.data.request import make_request
from genjax_art.errors import RunError
from genjax_art.options import parse
from genjax_art.train.process import prepare_process

LABELS = 4
BATCH = 64
SECONDS = 2.0  # of reading, in a turn
CORES = ("one", "all")  # of them, for preparing
APPETITE = "dcgan-small"  # the row of the benchmark `steps` whose step has to be fed
OPENING = """
import os, sys, time
if sys.argv[3] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from genjax_art.data.open import open_source
began = time.perf_counter()
open_source("image_folder", folder=sys.argv[1], data_dir=sys.argv[2], size=(int(sys.argv[4]),) * 2)
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Command:
    """Time preparing and reading a folder of pictures."""

    count: int = 2000
    """Pictures that are drawn."""
    sides: tuple[int, int] = (128, 256)
    """Least and greatest height and width of them, in pixels."""
    side: int = 64
    """Height and width that they become."""
    rounds: int = 3
    """Turns of each side; the figure is the median, of memory the greatest."""
    torch_python: str = sys.executable
    """The interpreter that has PyTorch, where it is another one."""
    json: Path | None = None
    """Also write the figures here."""


def draw_pictures(folder: Path, count: int, sides: tuple[int, int]) -> None:
    """JPEGs of smooth colours, all different, in folders by label."""
    rng = np.random.default_rng(0)
    for label in range(LABELS):
        (folder / f"label{label}").mkdir(parents=True)
    for i in range(count):
        width, height = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
        picture.save(folder / f"label{i % LABELS}" / f"{i:06d}.jpg", quality=90)


class Encoded(Recipe):
    """The same files as a set of TFDS, which keeps them as they are: array_record, decoded when they are read."""

    name = "benchmark_reading"
    notes = "Drawn."

    def __init__(self, folder: Path):
        self._folder = folder

    def features(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        names = sorted(path.name for path in self._folder.iterdir())
        return {"image": tfds.features.Image(shape=(None, None, 3)), "label": tfds.features.ClassLabel(names=names)}

    def splits(self, metadata: dict[str, Any]) -> dict[str, Examples]:
        del metadata
        return {"train": self._examples()}

    def _examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted(self._folder.rglob("*.jpg")):
            yield str(path), {"image": str(path), "label": path.parent.name}


def memory_of(process: int) -> int:
    """Bytes of a process and all below it, what they share counted once (PSS); 0 where the system does not say."""
    total = 0
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            total += 1024 * int(line.split()[1]) if line.startswith("Pss:") else 0
        for task in Path(f"/proc/{process}/task").iterdir():
            total += sum(memory_of(int(child)) for child in (task / "children").read_text().split())
    except OSError:  # it has ended
        pass
    return total


def open_beside(folder: Path, place: Path, cores: str, side: int) -> tuple[float, int]:
    """Seconds that a process of its own takes to open the folder, and its peak memory in bytes."""
    words = [sys.executable, "-c", OPENING, str(folder), str(place), cores, str(side)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process.pid))
        time.sleep(0.05)
    out, err = process.communicate()
    if process.returncode:
        raise RunError(f"opening {folder} failed: {' '.join(err.split())[-300:]}")
    return float(out), peak


def reading_rate(source: Source) -> float:
    """Pictures a second of shuffled batches, as a training takes them."""
    stream = batches(source, batch_size=BATCH, seed=0)
    try:
        next(stream)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            count += len(next(stream)["x"])
        return count / (time.perf_counter() - began)
    finally:
        stream.close()


def torch_rate(python: str, folder: Path, side: int) -> float:
    module = [python, "-m", "genjax_art.benchmark.peers.torch_reading"]
    words = [str(folder), str(side), str(BATCH), str(len(os.sched_getaffinity(0)))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([*module, *words], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RunError(f"PyTorch cannot read {folder}: {' '.join(done.stderr.split())[-300:]}")
    return float(done.stdout.split()[-1])


def has_torch(python: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec("torch") is not None
    return subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0


def appetite() -> float:
    """Pictures a second that the training step of `APPETITE` takes here."""
    experiment, shape = rows()[APPETITE]
    times = Ours(experiment, shape, onednn=True).run(5)
    return 1e3 * experiment.run.batch_size / float(np.median(times))


def measure(command: Command, folder: Path) -> dict[str, Any]:
    """All figures; rates in pictures a second, of reading the median of the rounds."""
    from genjax_art.data.tfds import open_records

    files, side = folder / "files", command.side
    draw_pictures(files, command.count, command.sides)
    figures: dict[str, Any] = {"count": command.count, "sides": command.sides, "side": side, "cores": os.cpu_count()}
    turns = range(command.rounds)
    opened = {(cores, i): open_beside(files, folder / f"{cores}{i}", cores, side) for i in turns for cores in CORES}
    for cores in CORES:
        figures[f"prepare_{cores}"] = command.count / float(np.median([opened[cores, i][0] for i in turns]))
        figures[f"prepare_{cores}_mb"] = max(opened[cores, i][1] for i in turns) / 1e6
    place = folder / f"{CORES[-1]}0"
    figures["open_again_s"], peak = open_beside(files, place, CORES[-1], side)
    figures["open_again_mb"] = peak / 1e6
    began = time.perf_counter()
    records = open_records(make_request("tfds", "train", folder / "tfds", (side, side), 3), Encoded(files))
    figures["tfds_prepare"] = command.count / (time.perf_counter() - began)
    source = open_source("image_folder", folder=files, data_dir=place, size=(side, side))
    sides: dict[str, Callable[[], float]] = {
        "ours": partial(reading_rate, source),
        "tfds": partial(reading_rate, records),
    }
    if has_torch(command.torch_python):
        sides["torch"] = partial(torch_rate, command.torch_python, files, side)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in turns:
        for name, rate in sides.items():
            rates[name].append(rate())
    figures |= {f"read_{name}": float(np.median(found)) for name, found in rates.items()}
    figures |= {f"times_{name}": figures["read_ours"] / figures[f"read_{name}"] for name in sides if name != "ours"}
    return figures | {"appetite": appetite()}


def main(arguments: Sequence[str]) -> None:
    """Prints a line a figure. Exit status 1 where pictures are read more slowly than a step takes them."""
    command = parse(Command, arguments, "python -m genjax_art.benchmark reading")
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(command, Path(folder))
    for name, value in figures.items():
        print(f"{name:16s} {value:,.1f}" if isinstance(value, float) else f"{name:16s} {value}")
    if "read_torch" not in figures:
        print('without PyTorch: pip install -e ".[torch]", or name an interpreter by --torch-python')
    if command.json:
        command.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if figures["read_ours"] < figures["appetite"]:
        raise RunError(
            f"{figures['read_ours']:,.0f} pictures/s are read, fewer than the {figures['appetite']:,.0f} "
            f"that a step of {APPETITE} takes"
        )
