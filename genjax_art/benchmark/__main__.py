"""python -m genjax_art.benchmark NAME [options]: each file of this folder with a `main(arguments)` is a benchmark."""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from genjax_art import benchmark, interrupts
from genjax_art.errors import UsageError


def names() -> list[str]:
    folder = Path(benchmark.__path__[0])
    found = [m.name for m in pkgutil.iter_modules([str(folder)]) if not m.ispkg and m.name != "__main__"]
    return [name for name in found if "\ndef main(" in (folder / f"{name}.py").read_text(encoding="utf-8")]


def run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] not in names():
        raise UsageError(f"name a benchmark: python -m genjax_art.benchmark {' | '.join(names())} [--help]")
    importlib.import_module(f"genjax_art.benchmark.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    interrupts.main(run)
