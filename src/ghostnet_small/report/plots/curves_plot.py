"""Top-1 by epoch: the mean over the seeds of a strategy, in the band of its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostnet_small.report.comparison import Comparison, Runs
from ghostnet_small.report.plots.draw import (
    SMALL,
    STEPS,
    Look,
    apart,
    dress,
    head,
    key,
    new_figure,
    short,
)
from ghostnet_small.report.words import width_text

MOST_COLUMNS = 3
HEIGHT = 3.0  # inches, of a panel
FEW_EPOCHS = 3
# Epochs before this share of the training need not fit: what one compares comes after them.
BEGINNING = 0.25
Curve = list[tuple[float, float, float, float]]  # epoch, mean, least, greatest


def draw_curves(comparison: Comparison, looks: Mapping[str, Look]) -> Figure | None:
    """A panel for each width; names stand at the lines where there is one panel only."""
    curves = {key_: _curve(runs) for key_, runs in comparison.groups.items()}
    curves = {key_: curve for key_, curve in curves.items() if curve}
    widths = list(dict.fromkeys(width for width, _ in curves))
    if not widths:
        return None
    single = len(widths) == 1
    columns = min(len(widths), MOST_COLUMNS)
    lines = -(-len(widths) // columns)
    height = 4.4 if single else lines * HEIGHT + 0.5
    figure = new_figure(height)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    low, high = _limits(list(curves.values()))
    for place, axes in enumerate(grid.flat):
        if place >= len(widths):
            axes.set_visible(False)
            continue
        here = {name: curve for (width, name), curve in curves.items() if width == widths[place]}
        dress(axes)
        axes.set_ylim(low, high)
        for name, curve in here.items():
            _line(axes, curve, looks[name])
        if single:
            _label(axes, here, looks, height)
        head(axes, f"width {width_text(widths[place])}")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
        if place + columns >= len(widths):
            axes.set_xlabel("epoch")
        if place % columns == 0:
            axes.set_ylabel(f"{comparison.curve_split} top-1, %")
    if not single:
        key(figure, looks, line=True)
    return figure


def _curve(runs: Runs) -> Curve:
    """Return the curve over the epochs that every run of the group has."""
    values = [dict(run.curve) for run in runs if run.curve]
    if not values:
        return []
    shared = sorted(set.intersection(*(set(one) for one in values)))
    return [
        (epoch, statistics.fmean(here), min(here), max(here))
        for epoch in shared
        if (here := [one[epoch] for one in values])
    ]


def _line(axes: Axes, curve: Curve, look: Look) -> None:
    epochs, mean, least, greatest = zip(*curve, strict=True)
    if any(a != b for a, b in zip(least, greatest, strict=True)):
        axes.fill_between(epochs, least, greatest, color=look.colour, alpha=0.16, linewidth=0)
    few = len(curve) <= FEW_EPOCHS
    axes.plot(
        epochs,
        mean,
        color=look.colour,
        linestyle=look.dash,
        linewidth=1.8,
        marker=look.marker if few else "",
        markersize=5,
    )


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the limits from the lowest point after the beginning of a training to the highest
    point.
    """
    later = [point for curve in curves for point in curve[int(BEGINNING * len(curve)) :]]
    low, high = min(point[2] for point in later), max(point[3] for point in later)
    pad = 0.05 * max(high - low, 1.0)
    return max(low - pad, 0.0), min(high + pad, 100.0)


def _label(
    axes: Axes, curves: Mapping[str, Curve], looks: Mapping[str, Look], height: float
) -> None:
    low, high = axes.get_ylim()
    line = 14 / 72 / (height - 1.0) * (high - low)
    places = apart([curve[-1][1] for curve in curves.values()], line, low, high)
    for (name, curve), place in zip(curves.items(), places, strict=True):
        axes.annotate(
            f"{short(name, 28)} {curve[-1][1]:.2f}",
            curve[-1][:2],
            (1.03, place),
            textcoords=("axes fraction", "data"),
            va="center",
            color=looks[name].colour,
            fontsize=SMALL + 0.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": looks[name].colour,
                "alpha": 0.4,
                "linewidth": 0.9,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0.0, 0.5),
            },
        )
