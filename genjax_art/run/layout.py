"""The folder of a run, as files: what lies where, and reading it back without the data set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genjax_art.config import migrate
from genjax_art.errors import RunError
from genjax_art.run import config_file
from genjax_art.spec import ArraySpec

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
CURVES = "curves.png"
HISTORY = "history"  # in the config: what was changed when the run was resumed (see `changes.py`)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Writes `config` (with the array spec under "spec") in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{CONFIG}.part"
    part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / CONFIG)


def read_config(folder: Path) -> tuple[dict[str, Any], ArraySpec]:
    """The experiment as JSON data of this version, and what its arrays are.

    Raises:
      RunError: no run there, or its config cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"no run in {folder}: {CONFIG} is missing; name a folder that train.py made")
    try:
        config = config_file.read(path)
        array_spec = config_file.array_spec(config.pop("spec", None))
        config = {name: value for name, value in migrate(config).items() if name != HISTORY}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{path} cannot be read ({reason}); restore it or train anew") from error
    return config, array_spec


def is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def last_step(folder: Path) -> int:
    """The step of the newest finished checkpoint by the names in the folder; 0 without one."""
    names = [p.name for p in (folder / CHECKPOINTS).glob("*") if p.is_dir()]
    return max((int(name) for name in names if name.isdigit()), default=0)


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

    Raises:
      RunError: see above; the message names the remedy.
    """
    last = last_step(folder)
    if resume and not is_run(folder):
        raise RunError(f"nothing to resume in {folder}: it holds no run; train without --resume")
    if resume and last == 0:
        raise RunError(f"nothing to resume in {folder}: it has no checkpoint; delete it and train anew")
    if resume and last >= steps:
        raise RunError(f"{folder} is at step {last} already; ask for more than that with --steps")
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = f"a run at step {last}: go on with --resume" if is_run(folder) else "other files"
        raise RunError(f"{folder} holds {what}, or name another folder with --run-dir")
