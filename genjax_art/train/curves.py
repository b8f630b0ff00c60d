"""curves.png: the course of a run as small panels, drawn from the rows of metrics.jsonl."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from genjax_art.files import replacing

COLUMNS_WITHOUT_PANEL = frozenset({"step", "images", "seconds", "images_per_second"})
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)  # Wong 2011: safe for colour-blind readers
PANEL_INCHES = (3.2, 2.2)
FONT_POINTS = 8
RAW_POINTS = 100  # more rows than this are also drawn as a running mean, before the pale raw values

# last part of a name -> (panel, unit on its axis, label of the line or None for the rest of the name)
PANELS: Mapping[str, tuple[str, str, str | None]] = {
    "loss": ("Loss", "loss", None),
    "real_probability": ("Discriminator output", "mean probability", "D(x)"),
    "fake_probability": ("Discriminator output", "mean probability", "D(G(z))"),
    "elbo": ("Evidence lower bound", "nats per example", "ELBO"),
    "reconstruction": ("Evidence lower bound", "nats per example", "reconstruction"),
    "kl": ("Evidence lower bound", "nats per example", "KL"),
    "grad_norm": ("Gradient norm", "L2 norm", None),
}
ORDER = tuple(dict.fromkeys(panel for panel, _, _ in PANELS.values()))

Curves = dict[str, Float[np.ndarray, "rows"]]


def group_panels(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Which metric goes where: panel title -> {metric: label of its line}, known panels first.

    Unknown metrics share a panel where the last part of their names (after "/") is the same.
    """
    panels: dict[str, dict[str, str]] = {title: {} for title in ORDER}
    for name in names:
        owner, _, last = name.rpartition("/")
        title, _, label = PANELS.get(last, (last.replace("_", " ").capitalize(), "", None))
        panels.setdefault(title, {})[name] = label or owner.replace("_", " ") or last
    return {title: lines for title, lines in panels.items() if lines}


def running_mean(y: Float[np.ndarray, "rows"], width: int) -> Float[np.ndarray, "rows"]:
    """Mean over a window of `width` rows around each row, of its finite values; NaN where it has none."""
    window = np.ones(width)
    finite = np.isfinite(y)
    total = np.convolve(np.where(finite, y, 0.0), window, mode="same")[: len(y)]
    count = np.convolve(finite.astype(np.float64), window, mode="same")[: len(y)]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw_panel(axes: Any, title: str, lines: Mapping[str, str], step: np.ndarray, curves: Curves) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for i, (name, label) in enumerate(lines.items()):
        y, colour = curves[name], COLOURS[i % len(COLOURS)]
        marker = "o" if np.isfinite(y).sum() == 1 else None  # one point makes no line
        if len(y) > RAW_POINTS:
            axes.plot(step, y, color=colour, linewidth=0.5, alpha=0.3)
            y = running_mean(y, len(y) // 40)
        axes.plot(step, y, color=colour, linewidth=1.2, label=label, marker=marker, markersize=3)
    values = np.concatenate([curves[name] for name in lines])
    if title.endswith("norm") and (values[np.isfinite(values)] > 0).any():
        axes.set_yscale("log")
    if title == "Discriminator output":
        axes.set_ylim(-0.02, 1.02)
        axes.axhline(0.5, color="0.6", linewidth=0.8, linestyle=":", zorder=0)  # undecided
    if step.min() < step.max():  # the same steps in all panels, also where a metric ends early
        margin = 0.03 * (step.max() - step.min())
        axes.set_xlim(step.min() - margin, step.max() + margin)
    axes.set_title(title, fontsize=FONT_POINTS + 1, loc="left")
    axes.set_xlabel("step", fontsize=FONT_POINTS)
    axes.set_ylabel(next((unit for panel, unit, _ in PANELS.values() if panel == title), ""), fontsize=FONT_POINTS)
    axes.tick_params(labelsize=FONT_POINTS - 1, width=0.6, length=2.5)
    axes.tick_params(which="minor", labelsize=FONT_POINTS - 2, width=0.4, length=1.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.legend(fontsize=FONT_POINTS - 1, frameon=False, handlelength=1.2)


def draw_curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw every metric over the steps into the PNG `path`, related ones in one panel.

    Losses, D(x) and D(G(z)), the parts of the ELBO, gradient norms (logarithmic) first, then the others by
    the last part of their names.  Rows may lack metrics and hold None, NaN or infinity: gaps in the lines.
    The same rows make the same bytes; the file is replaced in one step.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in metrics for name in row if name not in COLUMNS_WITHOUT_PANEL))
    step = np.array([row["step"] for row in metrics], np.float64)
    curves = {name: _column(metrics, name) for name in names}
    panels = group_panels(names)
    columns = 2 if len(panels) in (2, 4) else min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(columns * PANEL_INCHES[0], rows * PANEL_INCHES[1]), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for i, (title, lines) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, i + 1), title, lines, step, curves)
    if not panels:
        figure.text(0.5, 0.5, "nothing logged yet", ha="center", va="center", fontsize=FONT_POINTS)
    with replacing(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})


def _column(metrics: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, "rows"]:
    values = np.array([np.nan if row.get(name) is None else row[name] for row in metrics], np.float64)
    return np.where(np.isfinite(values), values, np.nan)
