"""A warning of mode collapse: when the fakes of several logs in a row are far less varied than the reals."""

from collections.abc import Callable, Mapping

SPREAD, DUPLICATES = "feature_spread", "duplicates"  # of every judge: see metrics/collapse.py
# Set by hand, between the values of varied fakes (spread about 1, no duplicates) and of a single picture (0 and 1).
LOW, HIGH = 0.2, 0.5  # collapsed: a spread below, a share of duplicates above
PATIENCE = 5  # logs in a row; set by hand


def collapse_watch(warn: Callable[[str], None]) -> Callable[[int, Mapping[str, float]], None]:
    """A function of (step, metrics) that calls `warn` with one line after `PATIENCE` collapsed logs in a row.

    It warns again only if the generator has recovered in between. One judge that sees a collapse is enough; metrics
    without the two signals are ignored.
    """
    in_a_row = 0

    def look(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal in_a_row
        judges = [name.removesuffix(f"/{SPREAD}") for name in metrics if name.endswith(f"/{SPREAD}")]
        if not judges:
            return
        seen = {judge: (metrics[f"{judge}/{SPREAD}"], metrics[f"{judge}/{DUPLICATES}"]) for judge in judges}
        collapsed = [judge for judge, (spread, twins) in seen.items() if spread < LOW or twins > HIGH]
        in_a_row = in_a_row + 1 if collapsed else 0
        if in_a_row == PATIENCE:
            spread, twins = seen[collapsed[0]]
            warn(
                f"warning: mode collapse at step {step}: in the features of {collapsed[0]} the fakes have {spread:.2f} "
                f"of the reals' spread, and {twins:.0%} of fakes have a twin; try --objective.penalties.r1, "
                "--objective.loss relativistic or a lower learning rate"
            )

    return look
