"""Which data a run is measured beside: what it has not seen."""

import re

from genjax_art import build
from genjax_art.config import Experiment
from genjax_art.data.contract import DataError, Source

USUAL = "test"
AN_EXAMPLE = "train[:90%]"


def held_out(experiment: Experiment, split: str | None) -> Source:
    """The split that was asked for, else `test`, else what the run's own slice leaves: of train[:90%] train[90%:].

    Raises:
      DataError: the data cannot be had, or nothing of them was held out.
    """
    if split is not None:
        return build.build_source(experiment, split)
    own = str(experiment.data.options.get("split", "train"))
    try:
        return build.build_source(experiment, USUAL)
    except DataError as error:
        if (rest := rest_of(own)) is not None:
            return build.build_source(experiment, rest)
        if "split" not in str(error):
            raise
        raise DataError(
            f"{error}; nothing was held out from this run, which saw all of {own}: train on a part, --data.split "
            f"'{AN_EXAMPLE}', and the rest is held out"
        ) from error


def rest_of(split: str) -> str | None:
    """The slice that another one leaves of its split, where it begins or ends with it; else None."""
    found = re.fullmatch(r"(\w+)\[(\d+%?)?:(\d+%?)?\]", split)
    if found is None or (found[2] is None) == (found[3] is None):
        return None
    return f"{found[1]}[{found[3]}:]" if found[2] is None else f"{found[1]}[:{found[2]}]"
