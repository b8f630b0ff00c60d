"""Errors that the user can fix. Everything else that is raised is a defect and keeps its traceback."""

from collections.abc import Iterable
from math import inf


class UsageError(ValueError):
    """A wrong word on the command line or in a config: exit status 2. The message is one line."""


class RunError(ValueError):
    """The command is well formed, but the run cannot start or continue: exit status 1. The message is one line."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones."""
    return UsageError(f"unknown {kind} {str(name)!r}; known: {', '.join(sorted(known))}")


def check_objective(least: int, most: int | float = inf, **options: int | float | tuple[float, ...]) -> None:
    """Raises UsageError where an option of the objective, or one of its values, is not from `least` to `most`."""
    for name, given in options.items():
        values = given if isinstance(given, tuple) else (given,)
        if not all(least <= value <= most for value in values):
            asked = f"at least {least:g}" if most == inf else f"{least:g} to {most:g}"
            raise UsageError(f"--objective.{name.replace('_', '-')} must be {asked}, got {' '.join(map(str, values))}")
