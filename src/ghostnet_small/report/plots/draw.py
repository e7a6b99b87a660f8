"""Shared parts of all plots: figures, axes, the looks of strategies, and SVG output."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ghostnet_small.report.theme import FONT, SENTINELS
from ghostnet_small.run.plot_fonts import no_warnings

PAGE, INK, MUTED, FAINT = (SENTINELS[role] for role in ("page", "ink", "muted", "faint"))
SERIES = tuple(colour for role, colour in SENTINELS.items() if role.startswith("series"))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # coprime to the colours: 56 strategies differ
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)))
INCHES = 10.0  # of width; a unit of the SVG is 1/72 of one, and so is a point of text
SMALL, NORMAL = 9.5, 10.5
STEPS = [1, 2, 5, 10]  # between ticks, times a power of ten
# Settings that make the same drawing give the same bytes, with text that stays text.
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ghostnet-small",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "font.family": ["DejaVu Sans"],  # wider than the page's fonts, so what fits here fits there
    "font.size": NORMAL,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Look:
    """The look of a strategy in every plot of a report."""

    colour: str
    marker: str
    dash: Any


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """The first strategy, the baseline, is grey; each differs in colour, marker and dash."""
    return {
        name: Look(
            SERIES[number % len(SERIES)],
            MARKERS[number % len(MARKERS)],
            DASHES[number % len(DASHES)],
        )
        for number, name in enumerate(strategies)
    }


def new_figure(height: float, width: float = INCHES) -> Figure:
    """A figure in inches that belongs to no window and no global state."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAGE)
    FigureCanvasSVG(figure)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    return figure


def dress(axes: Axes, grid: str = "both") -> None:
    """Quiet axes: no box, no ticks, a faint grid along ``grid``."""
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=SMALL, pad=5)
    axes.xaxis.label.set(color=MUTED, fontsize=SMALL)
    axes.yaxis.label.set(color=MUTED, fontsize=SMALL)


def head(axes: Axes, text: str) -> None:
    """A panel's title, at its left."""
    axes.set_title(text, loc="left", color=INK, fontsize=NORMAL, fontweight="bold", pad=8)


def key(
    figure: Figure, looks: Mapping[str, Look], *, line: bool, more: Sequence[Line2D] = ()
) -> None:
    """One row or more of names above several panels, where no label fits beside a line."""
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            marker="" if line else look.marker,
            label=short(name),
            markersize=6,
            linestyle=look.dash if line else "none",
            linewidth=1.8,
        )
        for name, look in looks.items()
    ]
    handles += more
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), 110 // (longest + 8)))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=NORMAL,
        labelcolor=INK,
        handlelength=4.0 if line else 1.0,
        columnspacing=2.0,
        borderaxespad=0.2,
    )


def short(name: str, most: int = 38) -> str:
    """Shorten a long name in its middle, since names differ at their ends."""
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[len(name) - (most - most // 2 - 1) :]}"


def apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places in the order of ``values``, at least ``gap`` apart, as near to them as
    possible.

    They lie between ``low`` and ``high`` where so many fit.
    """
    from scipy.optimize import isotonic_regression

    order = sorted(range(len(values)), key=lambda index: (values[index], index))
    if not order:
        return []
    level = isotonic_regression([values[index] - gap * rank for rank, index in enumerate(order)]).x
    level = level.clip(low, max(low, high - gap * (len(order) - 1)))
    places = [0.0] * len(values)
    for rank, index in enumerate(order):
        places[index] = float(level[rank]) + gap * rank
    return places


def limits(
    points: Sequence[float], ends: Sequence[float] = (), least: float = 1.0
) -> tuple[float, float]:
    """Limits of an axis that show all points, and interval ends as far as they leave room.

    Two seeds can give an interval of ten times the spread of everything else, which would press
    the points into one; it is cut instead.
    """
    low, high = min(points), max(points)
    room = max(high - low, least)
    low = max(min([low, *ends]), low - room)
    high = min(max([high, *ends]), high + room)
    pad = 0.08 * max(high - low, least)
    return low - pad, high + pad


def to_svg(figure: Figure) -> str:
    """The figure in sentinel colours, without the date and the maker's marks."""
    buffer = io.StringIO()
    # Text stays text: letters that the font here lacks are drawn by the reader's.
    with no_warnings():
        figure.savefig(buffer, format="svg", facecolor=PAGE)
    text = buffer.getvalue()
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


@contextmanager
def settings() -> Iterator[None]:
    """Make and write figures without a user's own settings of Matplotlib."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def coloured(svg: str, colours: Mapping[str, str], font: str = FONT) -> str:
    """Return the drawing in ``colours`` by role, its text in ``font``."""
    by_sentinel = {SENTINELS[role]: colour for role, colour in colours.items()}

    def recolour(tag: str) -> str:
        tag = re.sub(
            r"\b(fill|stroke): (#[0-9a-f]{6})\b",
            lambda found: f"{found[1]}: {by_sentinel.get(found[2], found[2])}",
            tag,
        )
        return tag.replace("font-family: 'DejaVu Sans'", f"font-family: {font}")

    return _tags(svg, recolour)


def inline(svg: str, name: str, words: str) -> str:
    """Return the drawing for an HTML page: colours as CSS variables, unique ids, and a label."""
    svg = coloured(svg, {role: f"var(--{role})" for role in SENTINELS}, "var(--font)")
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<style.*?</style>", "", svg, count=1, flags=re.DOTALL)

    def own(tag: str) -> str:
        tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
        tag = re.sub(r'\b(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', tag)
        return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)

    svg = _tags(svg, own)
    box = re.search(r'viewBox="[^"]+"', svg)
    assert box is not None
    opened = f'<svg role="img" aria-label="{escape(words)}" {box[0]}>'
    return re.sub(r"<svg[^>]*>", lambda _: opened, svg, count=1)


def _tags(svg: str, change: Callable[[str], str]) -> str:
    """Change every tag; text, which comes from rows, stays as it is."""
    return re.sub(r"<[^>]*>", lambda found: change(found[0]), svg)
