"""A warning of mode collapse: when the fakes of several logs in a row are far less varied than the reals."""

from collections.abc import Callable, Mapping

SPREAD, DUPLICATES = "discriminator/feature_spread", "discriminator/duplicates"  # see metrics/collapse.py
# Set by hand, between the values of varied fakes (spread about 1, no duplicates) and of a single picture (0 and 1).
LOW, HIGH = 0.2, 0.5  # collapsed: a spread below, a share of duplicates above
PATIENCE = 5  # logs in a row; set by hand


def collapse_watch(warn: Callable[[str], None]) -> Callable[[int, Mapping[str, float]], None]:
    """A function of (step, metrics) that calls `warn` with one line after `PATIENCE` collapsed logs in a row.

    It warns again only if the generator has recovered in between. Metrics without the two signals are ignored.
    """
    in_a_row = 0

    def look(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal in_a_row
        if SPREAD not in metrics:
            return
        collapsed = metrics[SPREAD] < LOW or metrics[DUPLICATES] > HIGH
        in_a_row = in_a_row + 1 if collapsed else 0
        if in_a_row == PATIENCE:
            warn(
                f"warning: mode collapse at step {step}: the fakes' features have {metrics[SPREAD]:.2f} of the reals' "
                f"spread and {metrics[DUPLICATES]:.0%} of fakes have a twin; try --objective.penalties.r1, "
                "--objective.loss relativistic or a lower learning rate"
            )

    return look
