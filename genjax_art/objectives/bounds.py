"""Bounds of an objective's options."""

from math import inf

from genjax_art.errors import UsageError


def check_objective(least: int, most: int | float = inf, **options: int | float | tuple[float, ...]) -> None:
    """Raises UsageError where an option of the objective, or one of its values, is not from `least` to `most`."""
    for name, given in options.items():
        values = given if isinstance(given, tuple) else (given,)
        if not all(least <= value <= most for value in values):
            asked = f"at least {least:g}" if most == inf else f"{least:g} to {most:g}"
            raise UsageError(f"--objective.{name.replace('_', '-')} must be {asked}, got {' '.join(map(str, values))}")
