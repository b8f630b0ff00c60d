"""Where a verb writes, and with which options of the medium's writer."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genjax_art import films
from genjax_art.files import refuse_link
from genjax_art.media import medium
from genjax_art.music.notes import MusicError
from genjax_art.run.load import Run
from genjax_art.spec import ArraySpec


@dataclass(frozen=True)
class Output:
    """`path` is what the user `named`, or else what files are called by default: runs/x/walk, to which endings come.

    `options` go to the medium's writer. `verb` names files in a folder that the user named.
    """

    path: Path
    named: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    verb: str = "out"

    def samples(
        self,
        run: Run,
        x: np.ndarray,
        about: Mapping[str, str],
        labels: np.ndarray | None,
        spec: ArraySpec | None = None,
    ) -> list[Path]:
        """Writes independent examples [n, *shape]; a name without an ending is a folder of single files.

        `spec` is what they are, where it is not the run's.
        """
        outs = [self.path] if self.named else self._with(run.medium.samples)
        write = partial(medium.write, x=x, spec=spec or run.spec, about=about, labels=labels, **self.options)
        return self._all(outs, write)

    def table(
        self, run: Run, x: np.ndarray, columns: int, about: Mapping[str, str], labels: np.ndarray | None
    ) -> list[Path]:
        """Writes examples of which so many belong in a row: in such rows, where the medium's files have any and nobody
        asked for others."""
        rows = "columns" in inspect.signature(run.medium.write).parameters
        asked = self.options.get("columns") is not None
        options = {**self.options, "columns": columns} if rows and not asked else self.options
        return replace(self, options=options).samples(run, x, about, labels)

    def walk(self, run: Run, x: np.ndarray, about: Mapping[str, str], labels: np.ndarray | None) -> list[Path]:
        """Writes the frames [n, *shape] of a film, or of what the medium has in its place."""
        outs = [self.path] if self._is_file else self._with(run.medium.walk)
        return self._all(outs, partial(medium.write, x=x, spec=run.spec, about=about, labels=labels, **self.options))

    def wholes(
        self, run: Run, wholes: Sequence[np.ndarray], about: Mapping[str, str], *, rate: float | None, in_one: bool
    ) -> list[Path]:
        """Writes arrays as long as the user's file that they come from; see `medium.write_wholes`."""
        endings = run.medium.walk if in_one else run.medium.samples
        outs = [self.path] if self._is_file else self._with(endings)
        write = partial(medium.write_wholes, wholes=wholes, spec=run.spec, about=about, rate=rate, in_one=in_one)
        return self._all(outs, partial(write, **self.options))

    def _all(self, outs: Sequence[Path], write: Callable[..., list[Path]]) -> list[Path]:
        """What `write` makes of each; where nobody asked for that kind of file, one that is not possible is left out,
        as the sound of very long music."""
        found: list[Path] = []
        for out in outs:
            try:
                found += write(out)
            except MusicError as error:
                if self._is_file or not found:
                    raise
                print(f"left out {out}: {error}", file=sys.stderr, flush=True)
        return list(dict.fromkeys(found))  # films of the same name share their contact sheet

    @property
    def _is_file(self) -> bool:
        return self.named and bool(self.path.suffix) and not self.path.is_dir()

    def _with(self, endings: Sequence[str]) -> list[Path]:
        """The path with each of the endings, but of films that need what is not installed; says so."""
        path = self.path / self.verb if self.named and self.path.is_dir() else self.path
        asked = [path.with_name(path.name + ending) for ending in endings]
        outs = [out for out in asked if not films.lacking(out)]
        for out in asked:
            if out not in outs and outs:
                print(f"left out {out}: it needs {films.lacking(out)}", file=sys.stderr, flush=True)
        outs = outs or asked
        for out in outs:
            if not self.named and out.is_dir():  # a link to a file is replaced, one to a folder would be followed
                refuse_link(out)
        return outs
