"""Top-1 by width, a line a strategy, the published lines dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostnet_small.report.comparison import Comparison, over, top1
from ghostnet_small.report.plots.draw import (
    PAGE,
    SMALL,
    STEPS,
    Look,
    apart,
    dress,
    limits,
    new_figure,
    short,
)
from ghostnet_small.report.words import width_text

HEIGHT = 4.8  # inches
Point = tuple[float, float]


def draw_width(comparison: Comparison, looks: Mapping[str, Look]) -> Figure | None:
    """Draw a line for each strategy; None for fewer than two widths."""
    ours = {strategy: _ours(comparison, strategy) for strategy in looks}
    widths = sorted({width for points in ours.values() for width, _ in points})
    if len(widths) < 2:
        return None
    papers = {strategy: _papers(comparison, strategy, widths) for strategy in looks}
    lines = sum(bool(points) for points in (*ours.values(), *papers.values()))
    height = max(HEIGHT, 0.24 * lines + 1.0)
    figure = new_figure(height)
    axes = figure.subplots()
    dress(axes, "y")
    everything = [y for points in (*ours.values(), *papers.values()) for _, y in points]
    everything += [run.top1 for run in comparison.students if run.top1 is not None]
    axes.set_ylim(*limits(everything))
    margin = 0.03 * (widths[-1] - widths[0])
    axes.set_xlim(widths[0] - margin, widths[-1] + margin)
    labels = []
    for strategy, look in looks.items():
        if papers[strategy]:
            _line(axes, papers[strategy], look, paper=True)
            labels.append((papers[strategy][-1], f"paper: {short(strategy, 26)}", look))
        if ours[strategy]:
            for width, strategy_name in comparison.groups:
                if strategy_name == strategy and width is not None:
                    _seeds(axes, comparison, width, strategy, look)
            _line(axes, ours[strategy], look, paper=False)
            labels.append((ours[strategy][-1], short(strategy, 32), look))
    _label(axes, labels, height)
    axes.set_xticks(widths, [width_text(width) for width in widths])
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=STEPS))
    axes.set_xlabel("width")
    axes.set_ylabel(f"{comparison.split} top-1, %")
    return figure


def _ours(comparison: Comparison, strategy: str) -> list[Point]:
    found = []
    for (width, name), runs in comparison.groups.items():
        mean = over(runs, top1)
        if name == strategy and width is not None and mean is not None:
            found.append((width, mean.mean))
    return found


def _papers(comparison: Comparison, strategy: str, widths: Sequence[float]) -> list[Point]:
    """The published points between our widths; others would only make the axis longer."""
    if comparison.published is None:
        return []
    top1_by_width = comparison.published.top1.get(strategy, {})
    return [
        (width, value)
        for width, value in sorted(top1_by_width.items())
        if widths[0] <= width <= widths[-1]
    ]


def _line(axes: Axes, points: Sequence[Point], look: Look, *, paper: bool) -> None:
    axes.plot(
        *zip(*points, strict=True),
        color=look.colour,
        marker=look.marker,
        linestyle=(0, (4, 3)) if paper else "-",
        linewidth=1.2 if paper else 2.0,
        markersize=5 if paper else 7,
        markerfacecolor=PAGE if paper else look.colour,
        zorder=2 if paper else 3,
    )


def _seeds(axes: Axes, comparison: Comparison, width: float, strategy: str, look: Look) -> None:
    """Draw a bar from the worst seed to the best."""
    values = [r.top1 for r in comparison.groups[width, strategy] if r.top1 is not None]
    if len(values) > 1:
        ends = (min(values), max(values))
        axes.plot((width, width), ends, color=look.colour, linewidth=4, alpha=0.3, zorder=2.5)


def _label(axes: Axes, labels: Sequence[tuple[Point, str, Look]], height: float) -> None:
    """Write the names at the right, led from the ends of their lines, none over another."""
    low, high = axes.get_ylim()
    line = 14 / 72 / (height - 0.8) * (high - low)
    places = apart([y for (_, y), _, _ in labels], line, low, high)
    for ((x, y), text, look), place in zip(labels, places, strict=True):
        axes.annotate(
            text,
            (x, y),
            (1.03, place),
            textcoords=("axes fraction", "data"),
            va="center",
            color=look.colour,
            fontsize=SMALL + 0.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "linestyle": ":",
                "color": look.colour,
                "alpha": 0.4,
                "linewidth": 0.9,
                "shrinkA": 1,
                "shrinkB": 6,
                "relpos": (0.0, 0.5),
            },
        )
