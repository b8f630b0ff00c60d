"""Whether a checkpoint belongs to the experiment that a run folder's config tells."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genjax_art.config import RunOptions, migrate
from genjax_art.errors import RunError

# lengths and intervals, which may change, and where the data lies
FREE = {
    "version",
    *(f"run.{field.name}" for field in dataclasses.fields(RunOptions) if field.metadata["on_resume"]),
    "data.options.folder",
    "data.options.data_dir",
}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two experiments, as JSON data with the array spec, don't have in common: (before, now) by dotted name.

    Left out is what may change in a run, and what `before` doesn't know: options that have come since, with defaults.
    """
    old, new = (dict(_leaves(migrate(json.loads(json.dumps(config))))) for config in (before, now))
    return {
        name.removeprefix("run."): (value, new.get(name))
        for name, value in old.items()
        if name not in FREE and value != new.get(name)
    }


def check_unchanged(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], who: str, may: Sequence[str] = ()
) -> None:
    """Raises RunError where `who`, a thing made by the experiment `before` (None: unknown), is not of `now`.

    `may` names fields of the experiment that may differ.
    """
    allowed = {name.replace("-", "_") for name in may}
    found = differences(before or {}, now)
    changed = {name: pair for name, pair in found.items() if name.split(".")[0] not in allowed}
    if not changed:
        return
    name, (old, new) = next(iter(changed.items()))
    others = f" (also {', '.join(list(changed)[1:6])})" if len(changed) > 1 else ""
    raise RunError(
        f"{who} was made with {name} {json.dumps(old)[:80]}, not {json.dumps(new)[:80]}{others}: "
        "put config.json and the data back as they were, or train anew in another folder"
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, value
