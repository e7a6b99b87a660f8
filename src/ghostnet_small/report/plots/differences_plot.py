"""Differences to the baseline with their intervals, the published ones beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ghostnet_small.report.comparison import Comparison
from ghostnet_small.report.confidence import Estimate
from ghostnet_small.report.plots.draw import (
    INK,
    MUTED,
    PAGE,
    SMALL,
    STEPS,
    Look,
    dress,
    limits,
    new_figure,
    short,
)
from ghostnet_small.report.words import interval, signed, width_text

ROW, GROUP = 0.34, 0.4  # inches, of a strategy and above a width


def draw_differences(comparison: Comparison, looks: Mapping[str, Look]) -> Figure | None:
    """Draw a row for each difference, filled and in bold where it is significant."""
    found = {key: comparison.difference(*key) for key in comparison.comparisons()}
    known = {key: one for key, one in found.items() if one is not None}
    if not known:
        return None
    papers = {key: _published(comparison, *key) for key in known}
    widths = list(dict.fromkeys(width for width, _ in known))
    figure = new_figure(ROW * len(known) + GROUP * len(widths) + 0.95)
    axes = figure.subplots()
    dress(axes, "x")
    points = [0.0, *(one.mean for one in known.values())]
    points += [paper for paper in papers.values() if paper is not None]
    ends = [
        end for one in known.values() if one.half is not None for end in (one.low, one.high) if end
    ]
    axes.set_xlim(*limits(points, ends))
    axes.axvline(0, color=INK, linewidth=1.2, zorder=1)
    place, ticks = 0.0, []
    for number, width in enumerate(widths):
        place += GROUP * (1 if number else 0.5)
        if len(widths) > 1 or width is not None:
            _above(axes, place, f"width {width_text(width)}")
        for (one_width, strategy), one in known.items():
            if one_width != width:
                continue
            place += ROW
            ticks.append((place, short(strategy)))
            _row(axes, place, one, looks[strategy], papers[one_width, strategy])
    axes.set_ylim(place + ROW * 0.7, -ROW * 0.3)
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=10.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=STEPS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 1)))
    axes.set_xlabel(f"{comparison.split} top-1 less that of {short(comparison.baseline)}, points")
    if any(paper is not None for paper in papers.values()):
        mark = Line2D([], [], label="paper, one run, other conditions", **_PAPER)
        figure.legend(
            handles=[mark],
            loc="outside lower right",
            frameon=False,
            fontsize=SMALL,
            labelcolor=MUTED,
        )
    return figure


_PAPER: dict[str, Any] = {
    "color": MUTED,
    "marker": "|",
    "markersize": 12.0,
    "markeredgewidth": 1.6,
    "linestyle": "none",
}


def _row(axes: Axes, place: float, one: Estimate, look: Look, paper: float | None) -> None:
    left, right = axes.get_xlim()
    if paper is not None:
        axes.plot(paper, place, zorder=2, **_PAPER)
    if one.low is not None and one.high is not None:
        axes.plot(
            (max(one.low, left), min(one.high, right)),
            (place, place),
            color=look.colour,
            linewidth=2.2,
            solid_capstyle="round",
        )
    axes.plot(
        one.mean,
        place,
        color=look.colour,
        marker=look.marker,
        markersize=8,
        markerfacecolor=look.colour if one.real else PAGE,
        markeredgewidth=1.6,
        zorder=3,
    )
    said = interval(one) if one.half is not None else f"n = {one.n}, no interval"
    axes.annotate(
        f"{signed(one.mean)}  {said}{'  significant' if one.real else ''}",
        (1.0, place),
        (8, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center_baseline",
        color=INK if one.real else MUTED,
        fontsize=SMALL,
        fontweight="bold" if one.real else "normal",
    )


def _above(axes: Axes, place: float, title: str) -> None:
    axes.annotate(
        title,
        (0.0, place),
        (-6, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        color=INK,
        fontweight="bold",
    )


def _published(comparison: Comparison, width: float | None, strategy: str) -> float | None:
    theirs, base = comparison.paper(width, strategy), comparison.paper(width, comparison.baseline)
    return None if theirs is None or base is None else theirs - base
