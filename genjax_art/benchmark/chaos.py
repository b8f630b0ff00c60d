"""Runs that are killed again and again, and damaged checkpoints: does the end stay what it would have been?

python -m genjax_art.benchmark chaos [--kills 100] [--only gan vae] [--damage] [--json FILE]

A chain is one training, in a process of its own, that gets a SIGKILL at a random moment or at an aimed one (between
the config and the first checkpoint, during a save, while old checkpoints are removed) and is started again, until it is
done. Then every number of its state and every row of its metrics, but times, must be that of the same run left alone.

With --damage every file of a run's newest checkpoint is emptied, cut in half, flipped in one bit and deleted: either
the state is read as it was, or the newest intact one is, with a warning; a damaged one asked for by number is refused.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.options import parse
from genjax_art.run import layout
from genjax_art.run.load import load_run
from genjax_art.train.process import prepare_process
from genjax_art.train.rows import METRICS_FILE, read_metrics
from genjax_art.train.state import TrainState

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
TIMES = ("seconds", "images_per_second")  # columns that two equal runs do not share
LATEST = 4.0  # seconds after a start's first sign of life in which a random kill comes
PATIENCE = 300.0  # seconds that one start may take
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PJRT_NPROC": "32"}
SMALL = ("--sample-every", "0", "--log-every", "7", "--save-every", "20", "--keep-latest", "2")


@dataclass(frozen=True)
class Row:
    """A training to be killed: the words of `train.py` and its environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # beside ours


ROWS: Mapping[str, Row] = {
    "gan": Row(("dcgan-small", "--model.width", "4", "--batch-size", "16", "--steps", "900", "--parallel", "jit")),
    "vae": Row(("mlp-vae", "--model.width", "16", "--batch-size", "16", "--steps", "3000", "--parallel", "jit")),
    "seeds": Row(("ring8", "--model.width", "8", "--batch-size", "16", "--steps", "2000", "--seeds", "3")),
    "gan-pmap": Row(
        ("mlp-gan", "--model.width", "16", "--batch-size", "16", "--steps", "900", "--parallel", "pmap"), EIGHT
    ),
    "music": Row(
        (
            *("music-vae-small", "--batch-size", "8", "--steps", "300", "--parallel", "jit", "--model.latents", "8"),
            *("--model.embedding", "8", "--model.encoder-width", "8", "--model.conductor-width", "8"),
            *("--model.decoder-width", "8", "--model.head-width", "8"),
        )
    ),
}


@dataclass(frozen=True)
class Command:
    """Kill trainings and damage checkpoints; exit 1 where an end is another one than without."""

    kills: int = 100
    """Kills in all, shared equally by the rows."""
    only: tuple[str, ...] = ()
    """Names of rows: gan, vae, seeds, gan-pmap, music (default: all)."""
    seed: int = 0
    """Of the moments of the kills."""
    damage: bool = False
    """Damage the files of a checkpoint, too."""
    json: Path | None = None
    """Also write the rows here."""


# Moments at which a training is killed: whether it is now, given its folder.


def before_the_first_checkpoint(folder: Path) -> bool:
    return layout.is_run(folder) and layout.last_step(folder) == 0


def during_a_save(folder: Path) -> bool:
    names = [path.name for path in (folder / layout.CHECKPOINTS).glob("*")]
    return any(not name.isdigit() for name in names)


def while_old_ones_go(folder: Path) -> bool:
    """More checkpoints than are kept: the newest 2 and the best."""
    return sum(path.name.isdigit() for path in (folder / layout.CHECKPOINTS).glob("*")) > 3


AIMED: Sequence[Callable[[Path], bool]] = (before_the_first_checkpoint, during_a_save, while_old_ones_go)


def start(row: Row, folder: Path) -> subprocess.Popen[bytes]:
    """A start or a restart, as a user would: with --resume where there is a run."""
    resume = ("--resume",) if layout.is_run(folder) else ()
    words = [sys.executable, str(TRAIN), *row.words, *SMALL, "--run-dir", str(folder), *resume]
    environment = {**os.environ, **row.environment}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextmanager
def ending(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Kills a process of ours that still runs at the end, which an interruption makes an early one."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def kill_at(process: subprocess.Popen[bytes], folder: Path, moment: Callable[[Path], bool] | float) -> bool:
    """Kills the process at the moment, or so many seconds after it has written a row; whether it came to that."""
    began, rows = time.monotonic(), _size(folder / METRICS_FILE)
    alive_since: float | None = None
    while process.poll() is None:
        now = time.monotonic()
        if alive_since is None and _size(folder / METRICS_FILE) > rows:
            alive_since = now
        waited = alive_since is not None and isinstance(moment, float) and now - alive_since > moment
        if waited or (callable(moment) and moment(folder)) or now - began > PATIENCE:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.0005)
    return False


def chain(row: Row, folder: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Trains to the end through so many kills, or fewer where the end comes first; what happened."""
    done, refused = 0, ""
    while True:
        if layout.is_finished(folder):  # killed after its last checkpoint
            return {"kills": done, "refused": refused}
        process = start(row, folder)
        aimed = AIMED if done == 0 else AIMED[1:]  # the first checkpoint comes once
        moment = aimed[done % 4] if done % 4 < len(aimed) else float(rng.uniform(0.0, LATEST))
        with ending(process):
            if done < kills and kill_at(process, folder, moment):
                done += 1
                continue
            _, said = process.communicate()
        if process.returncode:
            refused = said.decode(errors="replace").strip().splitlines()[-1] if said.strip() else "without a word"
        return {"kills": done, "refused": refused}


def compare(one: Path, other: Path) -> dict[str, Any]:
    """How many leaves of the two states and rows of metrics differ; None where one of them cannot be read."""
    try:
        states = [states_of(folder) for folder in (one, other)]
        rows = [[_without_times(row) for row in read_metrics(folder / METRICS_FILE)] for folder in (one, other)]
    except (RunError, OSError, ValueError) as error:
        return {"leaves_differ": None, "rows_differ": None, "error": str(error)}
    differing = sum(a != b for a, b in zip(*rows, strict=False)) + abs(len(rows[0]) - len(rows[1]))
    return {"leaves_differ": leaves_differ(*states), "rows_differ": differing}


def states_of(folder: Path) -> list[TrainState]:
    """The newest states of all members of a run."""
    first = load_run(folder)
    return [load_run(folder, member=i).state for i in range(first.plan.seeds.count)]


def leaves_differ(one: Any, other: Any) -> int:
    """Leaves of two states that are not equal to the bit; all where the trees are not the same."""
    a, b = jax.tree.leaves(one), jax.tree.leaves(other)
    if len(a) != len(b):
        return max(len(a), len(b))
    return sum(not np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def measure(name: str, kills: int, seed: int, work: Path) -> dict[str, Any]:
    """The row `name`: chains until there were so many kills, each beside the same run left alone."""
    row, began, rng = ROWS[name], time.monotonic(), np.random.default_rng(seed)
    chain(row, work / "whole", 0, rng)
    chains: list[dict[str, Any]] = []
    while not chains or (sum(found["kills"] for found in chains) < kills and chains[-1]["kills"]):
        folder = work / f"killed-{len(chains)}"
        left = kills - sum(found["kills"] for found in chains)
        found = chain(row, folder, left, rng)
        chains.append(found | compare(work / "whole", folder))
    total = {"kills": sum(found["kills"] for found in chains), "chains": len(chains)}
    total |= {"refused": [found["refused"] for found in chains if found["refused"]]}
    for what in ("leaves_differ", "rows_differ"):
        numbers = [found[what] for found in chains]
        total[what] = None if None in numbers else sum(numbers)
    fine = not total["refused"] and total["leaves_differ"] == total["rows_differ"] == 0 and total["kills"] == kills
    return {"name": name, **total, "fine": fine, "seconds": round(time.monotonic() - began)}


def damage(folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Damages each file of the newest checkpoint in four ways, one at a time; what reading it gave.

    `silent` counts states that are neither what they were nor those of an older checkpoint, `raised` errors that are
    not for the user, `accepted` damaged checkpoints that were asked for by number and read with other numbers.
    """
    steps = sorted(int(path.name) for path in (folder / layout.CHECKPOINTS).glob("*") if path.name.isdigit())
    newest = steps[-1]
    known = {step: load_run(folder, step).state for step in steps}
    counts = dict.fromkeys(("cases", "unharmed", "fell_back", "refused", "silent", "raised", "accepted"), 0)
    place = folder / layout.CHECKPOINTS / str(newest)
    for file in sorted(path for path in place.rglob("*") if path.is_file()):
        for harm in ("emptied", "cut", "flipped", "deleted"):
            with harmed(file, harm, rng):
                counts["cases"] += 1
                counts[_outcome(folder, known, newest)] += 1
                counts["accepted"] += _accepted(folder, known, newest)
    fine = counts["silent"] == counts["raised"] == counts["accepted"] == 0
    return {"name": "damage", **counts, "fine": fine}


def _outcome(folder: Path, known: Mapping[int, TrainState], newest: int) -> str:
    try:
        state = load_run(folder).state
    except (RunError, UsageError):
        return "refused"
    except Exception:  # whatever comes is what is counted
        logging.getLogger(__name__).exception("a damaged checkpoint")
        return "raised"
    step = int(state.step)
    if step not in known or leaves_differ(state, known[step]):
        return "silent"
    return "unharmed" if step == newest else "fell_back"


def _accepted(folder: Path, known: Mapping[int, TrainState], newest: int) -> bool:
    try:
        return leaves_differ(load_run(folder, newest).state, known[newest]) > 0
    except (RunError, UsageError):
        return False


@contextmanager
def harmed(file: Path, harm: str, rng: np.random.Generator) -> Iterator[None]:
    """The file damaged, and whole again afterwards."""
    content = file.read_bytes()
    if harm == "deleted":
        file.unlink()
    elif harm == "flipped" and content:
        place, bit = int(rng.integers(len(content))), int(rng.integers(8))
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
    else:
        file.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    try:
        yield
    finally:
        file.write_bytes(content)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


def line(row: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.items() if key not in ("name", "fine"))
    return f"{'holds' if row['fine'] else 'FAILS':6s} {row['name']:10s} {numbers}"


def main(arguments: Sequence[str]) -> None:
    """Prints each row as it is measured; the last line says how many hold."""
    command = parse(Command, arguments, "python -m genjax_art.benchmark chaos", __doc__)
    names = command.only or tuple(ROWS)
    for name in names:
        if name not in ROWS:
            raise unknown("row", name, ROWS)
    if command.kills < 0:
        raise UsageError(f"--kills must be at least 0, got {command.kills}")
    prepare_process()
    table: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        work = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
        kills = (command.kills + len(names) - 1 - i) // len(names)
        table.append(measure(name, kills, command.seed + i, work))
        print(line(table[-1]), flush=True)
        if command.damage and i == 0:
            table.append(damage(work / "whole", np.random.default_rng(command.seed)))
            print(line(table[-1]), flush=True)
        if table[-1]["fine"]:
            shutil.rmtree(work)
        if command.json:
            command.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    bad = sum(not row["fine"] for row in table)
    print(f"{len(table) - bad} of {len(table)} rows hold")
    if bad:
        raise RunError(f"{bad} of {len(table)} rows do not hold: see above")
