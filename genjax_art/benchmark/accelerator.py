"""Every check that needs a GPU or TPU, in one command that fits into minutes.

python -m genjax_art.benchmark accelerator --minutes 8 [--only peaks parity] [--out DIR] [--json FILE]

Parts come in the order of what is wanted most, each in a process of its own, so that one that fails, hangs or wants too
much memory does not end the others. Each row is written as soon as it is measured. Exit 1 where a check fails; the last
line says what. `--tiny` runs all parts on small nets, on any device.
"""

import dataclasses
import importlib
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genjax_art.benchmark.chaos import ending
from genjax_art.benchmark.device.row import Row
from genjax_art.errors import RunError, unknown
from genjax_art.options import parse
from genjax_art.train.process import CACHE_VARIABLE, prepare_process

# in this order; seconds at most, so that eight minutes reach the last one where some take less
PARTS = {"peaks": 40.0, "epochs": 130.0, "parity": 110.0, "wide": 110.0, "resume": 110.0, "steps": 240.0}
FROM_NOTHING = ("epochs",)  # what is timed there includes compiling: no programs are kept or found
KEEP, LEAST = 10.0, 5.0  # seconds to write and say what was found; for which a part is begun
NO_TIME = "no time"


@dataclass(frozen=True)
class Command:
    """Measure the accelerator of this machine."""

    minutes: float = 8.0
    """For all of it."""
    only: tuple[str, ...] = ()
    """Names of parts (default: all)."""
    tiny: bool = False
    """Small nets and few steps: does it all run?"""
    out: Path | None = None
    """A folder for generated pictures."""
    json: Path | None = None
    """Write the rows here, each as soon as it is measured."""
    part: str = ""
    """Run one part in this process and print its rows; what this command calls for each of them."""


def main(arguments: Sequence[str]) -> None:
    """Prints a line a row.

    Raises:
      RunError: a check fails, or a part ends without its rows.
    """
    command = parse(Command, arguments, "python -m genjax_art.benchmark accelerator")
    for name in (*command.only, *([command.part] if command.part else [])):
        if name not in PARTS:
            raise unknown("part", name, PARTS)
    if command.out:
        command.out.mkdir(parents=True, exist_ok=True)
    if command.part:
        run_part(command)
        return
    ends = time.monotonic() + 60 * command.minutes - KEEP
    table: list[dict[str, Any]] = []
    for name in command.only or PARTS:
        for row in rows_of(name, command, min(ends - time.monotonic(), PARTS[name])):
            table.append(row)
            said = {True: "holds", False: "FAILS", None: ""}[row["holds"]]
            print(f"{row['part']}: {row['name']} {said} {json.dumps(row['values'])} {row['note']}", flush=True)
            if command.json:
                command.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    failed = [f"{row['part']}: {row['name']}" for row in table if row["holds"] is False]
    if failed:
        raise RunError(f"{len(failed)} of {len(table)} rows fail: {'; '.join(failed)}")
    cut = [row["part"] for row in table if row["name"] == NO_TIME]
    print(f"no check fails in {len(table)} rows" + (f"; without time: {', '.join(cut)}" if cut else ""))


def run_part(command: Command) -> None:
    """The rows of one part, a line of JSON each."""
    prepare_process()
    module = importlib.import_module(f"genjax_art.benchmark.device.{command.part}")
    takes_out = "out" in inspect.signature(module.rows).parameters
    for row in module.rows(command.tiny, **({"out": command.out} if takes_out else {})):
        print(json.dumps(line_of(command.part, row)), flush=True)


def environment_of(name: str) -> dict[str, str]:
    """Of the part's process: this one's, with the processor beside the device, which results are compared with."""
    found = dict(os.environ)
    platforms = found.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms.split(","):
        found["JAX_PLATFORMS"] = f"{platforms},cpu"
    return found | ({CACHE_VARIABLE: "off"} if name in FROM_NOTHING else {})


def line_of(part: str, row: Row) -> dict[str, Any]:
    return {"part": part, **dataclasses.asdict(row)}


def rows_of(name: str, command: Command, seconds: float) -> Iterator[dict[str, Any]]:
    """The rows of a part as its process prints them, and how it ended: a row that fails where that was badly."""
    if seconds < LEAST:
        yield line_of(name, Row(NO_TIME, note="not begun"))
        return
    words = ["--part", name, *(["--tiny"] if command.tiny else [])]
    words += ["--out", str(command.out)] if command.out else []
    began = time.monotonic()
    limit = ["timeout", "--kill-after=2", str(int(seconds))]  # a signal alone would wait for the end of a compilation
    command_line = [*limit, sys.executable, "-m", "genjax_art.benchmark", "accelerator", *words]
    environment = environment_of(name)
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True, env=environment) as process, ending(process):
        assert process.stdout is not None
        for text in process.stdout:
            if text.startswith("{"):
                yield json.loads(text)
        status = process.wait()
    took = time.monotonic() - began
    if status in (124, 137, -9):
        yield line_of(name, Row(NO_TIME, {"seconds": round(took)}, None, f"its {seconds:.0f} s were over"))
    elif status:
        yield line_of(name, Row("ended", {"status": status}, False, "see its last lines above"))
    else:
        yield line_of(name, Row("took", {"seconds": round(took, 1)}))
