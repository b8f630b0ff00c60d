"""Whether the data of a run are still those that it was trained on, and where they lie."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from genjax_art.build import data_places
from genjax_art.config import Component, Experiment
from genjax_art.data.content import Content, content_from_json, content_of, difference, unknown_classes, with_classes
from genjax_art.data.contract import Source
from genjax_art.data.request import sets_folder
from genjax_art.errors import RunError
from genjax_art.run import layout


def check_world(folder: Path, source: Source, changed: Collection[str] = ()) -> tuple[Source, Content]:
    """The data to go on with in the run in `folder`, labels numbered as the run does, and what they hold.

    Raises:
      RunError: they have changed, and "data" is not among `changed`. DataError: classes that the run does not know.
    """
    _, spec = layout.read_config(folder)
    now = content_of(source)
    before = _content(folder) or Content(now.examples, spec.classes, "")
    if (differs := difference(before, now)) and "data" not in changed:
        fits = not unknown_classes(source, spec.classes)  # else it would be refused all the same
        remedy = "put them back, or add --changed data" if fits else "put them back, or train anew"
        raise RunError(f"the data are not those of {folder}: {differs}; {remedy}")
    if source.spec.shape != spec.shape:
        raise RunError(f"the data are of shape {source.spec.shape}, those of {folder} of {spec.shape}: train anew")
    return with_classes(source, spec.classes), now


def describe_change(folder: Path, source: Source) -> str:
    """What differs from the data that the run was trained on, in words; empty where nothing does or nobody knows."""
    before = _content(folder)
    return "" if before is None else difference(before, content_of(source))


def check_trusted(folder: Path, data: Component, given: Mapping[str, Any], flag: str = "--data.data-dir") -> None:
    """Refuses a directory of prepared sets that only the run names: what lies there may be a stranger's.

    `given` are the options of the data that the user has named.

    Raises:
      RunError: the directory is neither given nor the default one.
    """
    named = data.options.get("data_dir")
    if named is None or given.get("data_dir") is not None:
        return
    if Path(named).expanduser().absolute() != sets_folder(None):
        raise RunError(f"the run in {folder} names prepared data in {named}; if you trust it: {flag} {named}")


def moved(experiment: Experiment, given: Mapping[str, Any]) -> Experiment:
    """The experiment with its data elsewhere; of `given` those count that are places and not None."""
    places = {
        name: str(value) for name, value in given.items() if value is not None and name in data_places(experiment)
    }
    if not places:
        return experiment
    data = Component(experiment.data.name, {**experiment.data.options, **places})
    return dataclasses.replace(experiment, data=data)


def _content(folder: Path) -> Content | None:
    """What the data held when the run in `folder` last began or went on, if its config tells."""
    return content_from_json(layout.read_all(folder)[0].get(layout.CONTENT))
