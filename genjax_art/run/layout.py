"""The folder of a run, as files: what lies where, and reading it back without the data set."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from genjax_art.config import migrate
from genjax_art.errors import RunError
from genjax_art.files import LEFTOVER, quoted, refuse_link, replacing
from genjax_art.run import config_file
from genjax_art.run.lock import LOCK, InUseError, lock_folder
from genjax_art.spec import ArraySpec
from genjax_art.train.logs import EVENTS_FOLDER
from genjax_art.train.manifest import is_intact, steps_in

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
CURVES = "curves.png"
PROFILE = "profile"  # of a step (see `profile.py`)
ROOM = 200  # bytes of the longest name below a run folder, at least
HISTORY = "history"  # in the config: what was changed when the run was resumed (see `changes.py`)
CONTENT = "content"  # in the config: what the data hold (see `world.py`)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes `config` (with the array spec under "spec") in one step."""
    with replacing(folder / CONFIG) as part:
        part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> tuple[dict[str, Any], ArraySpec]:
    """The experiment as JSON data of this version, and what its arrays are.

    Raises:
      RunError: as `read_all` does.
    """
    config, array_spec = read_all(folder)
    return {name: value for name, value in config.items() if name not in (HISTORY, CONTENT)}, array_spec


def read_all(folder: Path) -> tuple[dict[str, Any], ArraySpec]:
    """The same, with what else the config tells: its history, the content of its data.

    Raises:
      RunError: no run there, or its config cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"no run in {folder}: {CONFIG} is missing; name a folder that train.py made")
    try:
        config = config_file.read(path)
        array_spec = config_file.array_spec(config.pop("spec", None))
        return migrate(config), array_spec
    except (ValueError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{path} cannot be read ({reason}); restore it or train anew") from error


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def last_step(folder: Path) -> int:
    """The step of the newest finished checkpoint by the names in the folder; 0 without one."""
    return max(steps_in(folder / CHECKPOINTS), default=0)


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has a checkpoint of its last step."""
    return is_run(folder) and last_step(folder) >= _steps(read_config(folder)[0])


def _steps(config: Mapping[str, Any]) -> int:
    """The length of the run, 0 where the config does not tell it."""
    run = config.get("run")
    steps = run.get("steps") if isinstance(run, Mapping) else None
    return steps if isinstance(steps, int) else 0


def check_folder(folder: Path, steps: int, *, resume: bool) -> None:
    """Refuses to train into `folder` where something would be overwritten, or where there is nothing to resume.

    A run that ended before its first checkpoint may be resumed, or just started again.

    Raises:
      RunError: see above, or a link within the folder, or too long a path; the message names the remedy.
    """
    _check_length(folder)
    for name in (CHECKPOINTS, SAMPLES, EVENTS_FOLDER):
        refuse_link(folder / name)
    last = last_step(folder)
    if resume and not is_run(folder):
        raise RunError(f"nothing to resume in {folder}: it holds no run; train without --resume")
    if resume and last >= steps and is_intact(folder / CHECKPOINTS / str(last), last):
        raise RunError(f"{folder} is at step {last} already; ask for more than that with --steps")
    if not resume and folder.exists() and not _is_free(folder):
        what = f"a run at step {last}: go on with {command_to_resume(folder)}" if is_run(folder) else "other files"
        raise RunError(f"{folder} holds {what}, or name another folder with --run-dir")


def _is_free(folder: Path) -> bool:
    """Whether `folder` holds nothing (but a profile), or a run that has saved nothing: no checkpoint, whole or not."""
    if not folder.is_dir():
        return False
    if is_run(folder):
        return last_step(folder) == 0
    return all(path.name in (LOCK, PROFILE) or LEFTOVER.fullmatch(path.name) for path in folder.iterdir())


def _check_length(folder: Path) -> None:
    """Raises RunError where the paths of the files to be written below `folder` would be too long."""
    longest = 4096 if not hasattr(os, "pathconf") else os.pathconf("/", "PC_PATH_MAX")
    if len(os.fsencode(folder.absolute())) + ROOM > longest:
        raise RunError(f"the path of the run folder is too long, {str(folder)[:60]}...: choose one of a few words")


def command_to_resume(folder: Path) -> str:
    return f"python train.py --resume --run-dir {quoted(folder)}"


@contextmanager
def claim(folder: Path | None, name: str, steps: int, *, resume: bool) -> Iterator[Path]:
    """Holds the folder of a run for this process: the one that is named, or runs/NAME.

    Where that is a finished run, or one that another process trains, it is the next free number. See `check_folder`.

    Raises:
      RunError: as `check_folder`, or another process trains there.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = _free_folder(name, stack)
        else:
            check_folder(folder, steps, resume=resume)  # before anything is made
            stack.enter_context(lock_folder(folder))
        check_folder(folder, steps, resume=resume)
        yield folder


def _free_folder(name: str, stack: ExitStack) -> Path:
    for number in count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with suppress(InUseError):
            if not is_finished(folder):
                stack.enter_context(lock_folder(folder))
                if not is_finished(folder):  # now for sure
                    break
    return folder
