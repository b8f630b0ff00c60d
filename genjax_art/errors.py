"""Errors that the user can fix. Everything else that is raised is a defect and keeps its traceback."""

from collections.abc import Iterable


class UsageError(ValueError):
    """A wrong word on the command line or in a config: exit status 2. The message is one line."""


class RunError(ValueError):
    """The command is well formed, but the run cannot start or continue: exit status 1. The message is one line."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones."""
    return UsageError(f"unknown {kind} {str(name)!r}; known: {', '.join(sorted(known))}")
