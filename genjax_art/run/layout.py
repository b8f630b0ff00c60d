"""The folder of a run, as files: what lies where, and reading it back without the data set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genjax_art.config import migrate
from genjax_art.errors import RunError
from genjax_art.spec import ArraySpec

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
CURVES = "curves.png"
EXTRA = ("content", "history")  # what a config holds besides the experiment and the spec; runs of old have neither


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
        config = json.loads(path.read_text(encoding="utf-8"))
        spec = config.pop("spec")
        for name in EXTRA:
            config.pop(name, None)
        shape, classes = tuple(map(int, spec["shape"])), tuple(map(str, spec["classes"]))
        # runs of version 1 do not say it: of what there was, only points went beyond their range
        bounded = bool(spec.get("bounded", spec["kind"] != "points"))
        config = migrate(config)
        array_spec = ArraySpec(shape, float(spec["low"]), float(spec["high"]), str(spec["kind"]), classes, bounded)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {error}); restore it or train anew") from error
    return config, array_spec


def read_extra(folder: Path) -> dict[str, Any]:
    """What the config holds besides the experiment: the content of the data, the history. Not checked.

    Raises:
      RunError: no run there, or its config cannot be read.
    """
    read_config(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {name: config[name] for name in EXTRA if name in config}


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
