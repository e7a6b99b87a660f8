"""The plots of a fit's report, as SVG in the colours of its page."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ghostnet_small.report.plots.draw import (
    FAINT,
    INK,
    SERIES,
    SMALL,
    STEPS,
    Look,
    dress,
    head,
    inline,
    key,
    looks,
    new_figure,
    settings,
    short,
    to_svg,
)

SPLITS = ("train", "validation", "test")
RIGHT, WRONG = SERIES[1], SERIES[2]
# Opacity of a cell, from few images of a row to all. Ink can be read on the strongest, light and
# dark, and the faintest can still be seen.
FAINTEST, STRONGEST = 0.08, 0.5
MUCH = 0.25  # of a row, as one mistake: the strongest, like all of the row on the diagonal
POINTS = 72.0  # an inch
LETTER = 0.62 * SMALL  # points of width, of the letters of names
DIGIT = 5.6  # points of width, of a count
LONGEST = 24  # letters of a name
LARGEST = 8.0  # inches, of a matrix
PANEL = 4.9  # inches, of a curve
FEW_EPOCHS = 20
CELL = Path([(0.04, 0.04), (0.96, 0.04), (0.96, 0.96), (0.04, 0.96), (0.04, 0.04)], closed=True)


def confusion_plot(matrix: Sequence[Sequence[int]], classes: Sequence[str], words: str) -> str:
    """Return how often each class is given each, as HTML; ``matrix`` has a row for each label."""
    with settings():
        return _html([_inline(draw_confusion(matrix, classes), "confusion", words)])


def curves_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return loss and top-1 by epoch, as HTML; ``rows`` are the epochs of a run."""
    with settings():
        return _html(
            [
                _inline(draw_curve(rows, quantity, title), quantity, f"{title} by epoch")
                for quantity, title in (("loss", "Loss"), ("top1", "Top-1, %"))
            ]
        )


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw the matrix; cells are shaded by the root of their share of the row, as mistakes are
    rare.

    Counts of cells and names of classes are left out where they have no room.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    names = [short(name, LONGEST) for name in classes]
    size = len(names)
    longest = max(_letters(name) for name in names) * LETTER
    side = min(LARGEST, max(0.76 * min(size, 5), 0.36 * size))
    cell = side / size * POINTS
    level = longest < cell
    left = longest / POINTS + 0.4
    below = left if not level else 0.6
    width, height = left + side + 0.1, below + side + 0.1
    figure = new_figure(height, width)
    axes = figure.add_axes((left / width, below / height, side / width, side / height))
    dress(axes)
    axes.grid(visible=False)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    step = math.ceil(1.15 * SMALL / cell)
    shown = range(0, size, step)
    axes.set_xticks(shown, names[::step])
    axes.set_yticks(shown, names[::step])
    for label in axes.get_xticklabels():
        if not level:
            label.set(rotation=90)
    for edge in np.arange(size + 1) - 0.5:
        line: dict[str, Any] = {"color": FAINT, "linewidth": 0.8 if cell > 12 else 0.3, "zorder": 0}
        axes.axhline(edge, **line)
        axes.axvline(edge, **line)
    _shade(axes, counts)
    for row, column in zip(*np.nonzero(counts), strict=True):
        text = str(counts[row, column])
        if len(text) * DIGIT < cell - 2 and cell > SMALL:
            look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 8.5}
            axes.text(column, row, text, color=INK, **look)
    figure.text((left + side / 2) / width, 0.12 / height, "class given", ha="center", color=INK)
    figure.text(
        0.08 / width, (below + side / 2) / height, "label", rotation=90, va="center", color=INK
    )
    return figure


def _shade(axes: Axes, counts: NDArray[np.int64]) -> None:
    """Fill the cells: as one path for all of a shade, which are few."""
    on_diagonal = np.eye(len(counts), dtype=bool)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.minimum(shares / np.where(on_diagonal, 1.0, MUCH), 1.0)
    opacity = np.round(FAINTEST + (STRONGEST - FAINTEST) * np.sqrt(shares), 2)
    for colour, where in ((RIGHT, on_diagonal), (WRONG, ~on_diagonal)):
        here = where & (counts > 0)
        for one in np.unique(opacity[here]):
            path = Path.make_compound_path(
                *(
                    Path(CELL.vertices + np.array((column - 0.5, row - 0.5)), CELL.codes)
                    for row, column in zip(*np.nonzero(here & (opacity == one)), strict=True)
                )
            )
            look: dict[str, Any] = {"facecolor": colour, "alpha": float(one), "linewidth": 0}
            axes.add_patch(PathPatch(path, **look))


def draw_curve(rows: Sequence[Mapping[str, Any]], quantity: str, title: str) -> Figure:
    """Draw a ``quantity`` of ``rows`` by epoch, a line for each split that has it."""
    figure = new_figure(3.3, PANEL)
    axes = figure.subplots()
    dress(axes)
    named: dict[str, Look] = {}
    for split, look in looks(SPLITS).items():
        name = f"{split}_{quantity}"
        points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
        if not points:
            continue
        last = f"{points[-1][1]:.2f}" if quantity == "top1" else f"{points[-1][1]:.3f}"
        named[f"{split} {last}"] = look
        axes.plot(
            *zip(*points, strict=True),
            color=look.colour,
            linestyle=look.dash,
            linewidth=1.8,
            marker=look.marker if len(points) <= FEW_EPOCHS else "",
            markersize=3.5,
        )
    if named:
        key(figure, named, line=True)
    head(axes, title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True, min_n_ticks=1))
    if quantity == "loss":
        # Early epochs can be tens of times the last ones, which are what one looks for.
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    return figure


def _letters(name: str) -> int:
    """Return the width of a name in letters: those of Chinese and the like take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)


def _inline(figure: Figure, name: str, words: str) -> str:
    width = f'<svg style="--inches: {figure.get_figwidth():.2f}"'
    return inline(to_svg(figure), name, words).replace("<svg", width, 1)


def _html(drawings: Iterable[str]) -> str:
    return "\n".join(['<div class="plots">', *drawings, "</div>"])
