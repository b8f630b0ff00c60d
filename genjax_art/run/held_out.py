"""Which data a run is measured beside: what it has not seen."""

import re
from collections.abc import Iterator
from contextlib import suppress

from genjax_art import build
from genjax_art.config import Experiment
from genjax_art.data.apart import without_copies_of
from genjax_art.data.contract import DataError, NoSplit, Source

USUAL = ("test", "validation", "val", "valid")
A_PART = "train[:90%]"


class NothingHeldOut(DataError):
    """The run has seen all that there is."""


def held_out(experiment: Experiment, split: str | None) -> Source:
    """The split that was asked for; else the first there is of test, validation, val and valid that the run was not
    trained on, else what the run's own slice leaves: of train[:90%] train[90%:].

    Raises:
      NothingHeldOut: there is none of these. DataError: the data cannot be had.
    """
    if split is not None:
        return build.build_source(experiment, split)
    own = str(experiment.data.options.get("split", "train"))
    for name in unseen(own):
        with suppress(NoSplit):
            held = build.build_source(experiment, name)
            if name == rest_of(own):  # other splits are the set's, which keeps them apart
                held = without_copies_of(build.build_source(experiment), held)
            if len(held):
                return held
    raise NothingHeldOut(
        f"{experiment.data.name} has nothing that this run has not seen: it was trained on {own}. Train on a part, "
        f"--data.split '{A_PART}', of more than a few examples, and the rest is held out; or name another --split"
    )


def unseen(own: str) -> Iterator[str]:
    """Splits that a run trained on `own` has not seen, if they exist, in the order of choice."""
    parts = set(re.findall(r"[A-Za-z_]\w*", own))
    if "all" not in parts:
        yield from (name for name in USUAL if name not in parts)
    if (rest := rest_of(own)) is not None:
        yield rest


def rest_of(split: str) -> str | None:
    """The slice that another one leaves of its split, where it begins or ends with it; else None."""
    found = re.fullmatch(r"(\w+)\[(-?\d+%?)?:(-?\d+%?)?\]", split)
    if found is None or (found[2] is None) == (found[3] is None):
        return None
    return f"{found[1]}[{found[3]}:]" if found[2] is None else f"{found[1]}[:{found[2]}]"
