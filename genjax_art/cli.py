"""The command lines of the entry scripts: words to an experiment, errors to one line and an exit status."""

import dataclasses
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from genjax_art.build import DEFAULT_PRESET, complete, load_preset, preset_names
from genjax_art.config import Component, Experiment, from_json
from genjax_art.errors import RunError, UsageError

T = TypeVar("T")
MIDI_FILES = {"grid": (0,), "walk": (0, 2), "continue": (1,), "vary": (1,)}  # how many of --midi
MIDI_USE = "sample.py RUN continue --midi FILE, RUN vary --midi FILE, RUN walk --midi FROM TO"
LENGTHS = {
    "steps",
    "log_every",
    "sample_every",
    "save_every",
    "keep_latest",
    "keep_best",
}  # may change on --resume


@dataclass(frozen=True)
class TrainCommand:
    """Train a preset (or your own preset file) into a run folder."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    run_dir: Path | None = None
    """Folder of the run (default: runs/NAME, with a number where that is finished)."""
    parallel: Literal["jit", "pmap", "mesh"] | None = None
    """jit: one device; pmap: all local devices; mesh: all devices of all processes. Default: by their number."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --run-dir from its newest checkpoint."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""


@dataclass(frozen=True)
class SampleCommand:
    """Draw from a run folder alone: no data set and no preset is needed."""

    run: Annotated[Path, tyro.conf.Positional]
    """A folder that train.py made."""
    what: Annotated[Literal["grid", "walk", "continue", "vary"], tyro.conf.Positional] = "grid"
    """grid: independent samples. walk: a closed walk through latent space, as a film (music: as one piece); with two
    files in --midi from the one to the other. continue, vary: the music in --midi, from a run of a VAE on music."""
    n: int | None = None
    """How many samples (default 64); of a walk: how many samples it passes (8); of continue: how many bars are added
    (8); of vary: how many variations (1)."""
    seed: int = 0
    """Of latents and labels."""
    label: str | None = None
    """Only this class (of a conditional run)."""
    truncation: float | None = None
    """Latents within [-t, t] only: more typical, less diverse samples."""
    midi: tuple[Path, ...] = ()
    """The MIDI file to continue or vary; of a walk: the two that it leads from and to."""
    amount: float = 0.5
    """Of vary: from 0, the piece as the run knows it, to 1, another piece."""
    soundfont: Path | None = None
    """Of music: play the WAV by the program FluidSynth with this soundfont (default: the built-in synthesiser)."""
    checkpoint: str = "latest"
    """latest, best or a step."""
    member: int = 0
    """Of a run with several seeds: which one, counted from 0."""
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Use the parameters themselves instead of their moving average."""
    ema: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Use the moving average, and fail where the run has none (default: use it where there is one)."""
    out: Path | None = None
    """x.png: one grid; x.npz: the arrays; x.gif, x.mp4: a film; no ending: a folder of single files.
    x.mid, x.wav: music as one piece.
    Default: grid.png, or walk.gif and walk.mp4, in the run folder; of music a .mid, a .wav and a .png."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    @property
    def count(self) -> int:
        return {"grid": 64, "walk": 8, "continue": 8, "vary": 1}[self.what] if self.n is None else self.n

    @property
    def which(self) -> Literal["raw", "ema", "default"]:
        return "raw" if self.raw else "ema" if self.ema else "default"


def parse_train(arguments: Sequence[str]) -> TrainCommand:
    """The command of `train.py [PRESET] [--options]`.

    On --resume the saved experiment takes the preset's place, and only lengths may be changed.

    Raises:
      UsageError, RunError: as `load_preset`, `complete` and `from_json` do. SystemExit: tyro's own messages.
    """
    arguments = list(arguments)
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    folder = _value(arguments, "--run-dir")
    saved = _saved(Path(folder)) if "--resume" in arguments and folder else None
    if saved is not None and name is not None and name != saved.name and not name.endswith(".py"):
        raise UsageError(f"{folder} is a run of {saved.name}, not of {name}; leave the preset out to resume it")
    base = saved or load_preset(name or DEFAULT_PRESET)
    base = complete(_renamed(base, arguments))
    command = _parse(TrainCommand, arguments, TrainCommand(base), "train.py [PRESET]", _train_help())
    if command.resume and command.run_dir is None:
        raise UsageError("--resume needs --run-dir, the folder of the run to go on with")
    if saved is not None:
        _check_unchanged(complete(saved), command.experiment)
    return command


def parse_sample(arguments: Sequence[str]) -> SampleCommand:
    """The command of `sample.py RUN [grid|walk|continue|vary] [--options]`."""
    command = _parse(SampleCommand, arguments, None, "sample.py", None)
    wanted = MIDI_FILES[command.what]
    if len(command.midi) not in wanted:
        numbers = " or ".join(str(number) for number in wanted)
        raise UsageError(f"{command.what} takes {numbers} files in --midi, got {len(command.midi)}: {MIDI_USE}")
    if command.raw and command.ema:
        raise UsageError("--raw and --ema exclude each other")
    return command


def _train_help() -> str:
    return (
        f"Train PRESET (default {DEFAULT_PRESET}) into a run folder. PRESET is a name or the path of your own preset "
        f"file. Presets: {', '.join(preset_names())}. `train.py PRESET --help` shows the values of that preset."
    )


def _parse(kind: type[T], arguments: Sequence[str], default: T | None, prog: str, description: str | None) -> T:
    options: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(kind, args=list(arguments), prog=prog, description=description, **options)


def _value(arguments: Sequence[str], flag: str) -> str | None:
    """The value after `flag` (or in `flag=value`), before the arguments are parsed."""
    for i, word in enumerate(arguments):
        if word.replace("_", "-") == flag and i + 1 < len(arguments):
            return arguments[i + 1]
        if word.replace("_", "-").startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def _renamed(experiment: Experiment, arguments: Sequence[str]) -> Experiment:
    """With another component named on the command line, the old one's options make way for the new one's defaults."""

    def swap(component: Component, path: str) -> Component:
        name = _value(arguments, f"--{path}.name")
        return component if name in (None, component.name) else Component(str(name))

    optimizers = {
        player: dataclasses.replace(
            o,
            transform=swap(o.transform, f"optimizers.{player}.transform"),
            schedule=swap(o.schedule, f"optimizers.{player}.schedule"),
        )
        for player, o in experiment.optimizers.items()
    }
    return dataclasses.replace(
        experiment,
        model=swap(experiment.model, "model"),
        objective=swap(experiment.objective, "objective"),
        optimizers=optimizers,
        data=swap(experiment.data, "data"),
    )


def _saved(folder: Path) -> Experiment:
    from genjax_art.runs import read_config

    config, _ = read_config(folder)
    return read_experiment(config, folder)


def read_experiment(config: dict[str, Any], folder: Path) -> Experiment:
    """`from_json`, with the folder named in the error."""
    try:
        return from_json(config)
    except ValueError as error:
        raise RunError(f"{folder}: {error}") from error


def _check_unchanged(saved: Experiment, asked: Experiment) -> None:
    changed = [
        f.name
        for f in dataclasses.fields(Experiment)
        if f.name not in LENGTHS and getattr(saved, f.name) != getattr(asked, f.name)
    ]
    if changed:
        raise UsageError(
            f"--resume cannot change {', '.join(changed)}; only {', '.join(sorted(LENGTHS))} may change: train anew"
        )


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `command` on the process's arguments and exits: a user's error is one line, a defect a traceback."""
    arguments = sys.argv[1:]
    with _one_line("--debug" in arguments):
        status = command(arguments)
    sys.stdout.flush()
    sys.exit(status or 0)


@contextmanager
def _one_line(debug: bool) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        if debug or not (isinstance(error, OSError) or _raised_by_us(error)):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted before the first step; nothing was lost", file=sys.stderr)
        sys.exit(130)


def _raised_by_us(error: BaseException) -> bool:
    """Whether the innermost frame is code of this package: then the message is for the user, else it is a defect."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("genjax_art")
