"""Top-1 by strategy: every seed, the mean and its interval, a panel for each width."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostnet_small.report.comparison import Comparison, over, top1
from ghostnet_small.report.plots.draw import (
    FAINT,
    INK,
    PAGE,
    SMALL,
    STEPS,
    Look,
    dress,
    head,
    limits,
    new_figure,
    short,
)
from ghostnet_small.report.words import plain, width_text

MOST_COLUMNS = 3
ROW = 0.52  # inches
BELOW = 0.24  # rows, from the mean to its seeds: on one line the mean would hide them


def draw_accuracy(comparison: Comparison, looks: Mapping[str, Look]) -> Figure | None:
    """Draw a panel for each width; all have the same scale, but limits of their own."""
    widths = [w for w in comparison.widths if any(_values(comparison, w, s) for s in looks)]
    if not widths:
        return None
    ranges = {width: _range(comparison, width, looks) for width in widths}
    span = max(high - low for low, high in ranges.values())
    columns = min(len(widths), MOST_COLUMNS)
    lines = -(-len(widths) // columns)
    figure = new_figure(lines * (ROW * len(looks) + 0.85))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(widths):
            axes.set_visible(False)
            continue
        width = widths[place]
        middle = sum(ranges[width]) / 2
        axes.set_xlim(middle - span / 2, middle + span / 2)
        _panel(axes, comparison, width, looks)
        head(axes, f"width {width_text(width)}")
        if place + columns >= len(widths):
            axes.set_xlabel(f"{comparison.split} top-1, %")
    return figure


def _panel(
    axes: Axes, comparison: Comparison, width: float | None, looks: Mapping[str, Look]
) -> None:
    dress(axes, "x")
    left, right = axes.get_xlim()
    for row, (strategy, look) in enumerate(looks.items()):
        axes.axhline(row, color=FAINT, linewidth=0.8, zorder=0.5)
        runs = comparison.groups.get((width, strategy), ())
        mean = over(runs, top1)
        if mean is None:
            continue
        if mean.low is not None and mean.high is not None:
            ends = (max(mean.low, left), min(mean.high, right))
            axes.plot(ends, (row, row), color=look.colour, linewidth=2.2, solid_capstyle="round")
        seeds = [run.top1 for run in runs if run.top1 is not None]
        if len(seeds) > 1:
            axes.plot(
                seeds,
                [row + BELOW] * len(seeds),
                color=look.colour,
                linestyle="none",
                marker="o",
                markersize=4.5,
                markerfacecolor=PAGE,
                markeredgewidth=1.2,
                zorder=3,
            )
        axes.plot(mean.mean, row, color=look.colour, marker=look.marker, markersize=8.5)
        axes.annotate(
            plain(mean.mean),
            (mean.mean, row),
            (0, 8),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=INK,
            fontsize=SMALL,
        )
    axes.set_yticks(range(len(looks)), [short(name) for name in looks])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=10.5)
    axes.set_ylim(len(looks) - 0.5, -0.75)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))


def _values(comparison: Comparison, width: float | None, strategy: str) -> list[float]:
    runs = comparison.groups.get((width, strategy), ())
    return [run.top1 for run in runs if run.top1 is not None]


def _range(
    comparison: Comparison, width: float | None, looks: Mapping[str, Look]
) -> tuple[float, float]:
    points: list[float] = []
    ends: list[float] = []
    for strategy in looks:
        points += _values(comparison, width, strategy)
        mean = over(comparison.groups.get((width, strategy), ()), top1)
        if mean is not None and mean.low is not None and mean.high is not None:
            ends += [mean.low, mean.high]
    return limits(points, ends)
