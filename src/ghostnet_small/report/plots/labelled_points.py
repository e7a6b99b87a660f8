"""Points of a figure, each with a label that hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ghostnet_small.report.plots.label_places import NEAR, Box, corner, places

# Alignment of a label by where its line begins.
HORIZONTAL: dict[float, Any] = {0: "left", 0.5: "center", 1: "right"}
VERTICAL: dict[float, Any] = {0: "bottom", 0.5: "center", 1: "top"}


@dataclass(frozen=True)
class Labelled:
    """A point in the axes' own units, its label and the colour of both."""

    x: float
    y: float
    label: str
    colour: str


def label_points(axes: Axes, points: Sequence[Labelled], size: float) -> None:
    """Put each point's label, in letters of ``size`` points, at the nearest place where it hides
    nothing.

    The figure must have been laid out (``draw_without_rendering``): the places depend on where the
    axes are.
    """
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer, unit = canvas.get_renderer(), axes.figure.dpi / 72
    corners = axes.get_window_extent(renderer)
    # A label may stand in the margin at the right.
    frame = Box(corners.x0, corners.y0, axes.figure.bbox.x1, corners.y1).scaled(1 / unit)
    spots = axes.transData.transform([(point.x, point.y) for point in points]) / unit
    texts = [axes.text(0, 0, point.label, fontsize=size) for point in points]
    boxes = [text.get_window_extent(renderer) for text in texts]
    sizes = [(box.width / unit, box.height / unit) for box in boxes]
    for text in texts:
        text.remove()
    offsets = places(spots.tolist(), sizes, frame)
    for point, offset in zip(points, offsets, strict=True):
        line = {"arrowstyle": "-", "linewidth": 0.8, "color": point.colour, "alpha": 0.5}
        line |= {"relpos": corner(offset), "shrinkA": 0, "shrinkB": 5}
        label = axes.annotate(
            point.label,
            (point.x, point.y),
            offset,
            textcoords="offset points",
            ha=HORIZONTAL[corner(offset)[0]],
            va=VERTICAL[corner(offset)[1]],
            color=point.colour,
            fontsize=size,
            arrowprops=line if max(map(abs, offset)) > NEAR else None,
        )
        # Else the layout would make room for it, and move all points.
        label.set_in_layout(False)
