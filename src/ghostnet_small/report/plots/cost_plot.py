"""Top-1 against what it costs: deployed parameters, MACs, training time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ghostnet_small.report.comparison import Comparison, over, top1
from ghostnet_small.report.plots.draw import STEPS, Look, dress, head, key, limits, new_figure
from ghostnet_small.report.runs import RunRow

HEIGHT = 3.9  # inches
HOUR, MINUTE = 3600, 60  # seconds
Cost = Callable[[RunRow], float | None]


def draw_cost(comparison: Comparison, looks: Mapping[str, Look]) -> Figure | None:
    """A point for each strategy and width; a thin line joins the widths of a strategy."""
    costs: list[tuple[str, Cost]] = [
        ("parameters, deployed", lambda run: run.params),
        ("MACs, deployed", lambda run: run.macs),
        ("training time", lambda run: run.seconds),
    ]
    shown = [(title, of) for title, of in costs if _points(comparison, of)]
    if not shown:
        return None
    figure = new_figure(HEIGHT)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    values = []
    for axes, (title, of) in zip(panels, shown, strict=True):
        points = _points(comparison, of)
        unit, scale = _unit(title, max(x for line in points.values() for x, _ in line))
        points = {name: [(x / scale, y) for x, y in line] for name, line in points.items()}
        values += [y for line in points.values() for _, y in line]
        _panel(axes, points, looks)
        head(axes, title)
        axes.set_xlabel(unit)
    panels[0].set_ylim(*limits(values))
    panels[0].set_ylabel(f"{comparison.split} top-1, %")
    key(figure, looks, line=False)
    return figure


def _points(comparison: Comparison, of: Cost) -> dict[str, list[tuple[float, float]]]:
    """Mean cost and mean top-1, by strategy in order of width."""
    found: dict[str, list[tuple[float, float]]] = {}
    for (_, strategy), runs in comparison.groups.items():
        cost, mean = over(runs, of), over(runs, top1)
        if cost is not None and mean is not None:
            found.setdefault(strategy, []).append((cost.mean, mean.mean))
    return found


def _panel(
    axes: Axes, points: Mapping[str, list[tuple[float, float]]], looks: Mapping[str, Look]
) -> None:
    dress(axes)
    for strategy, line in points.items():
        look = looks[strategy]
        axes.plot(*zip(*line, strict=True), color=look.colour, linewidth=0.9, alpha=0.6)
        axes.plot(
            *zip(*line, strict=True),
            color=look.colour,
            marker=look.marker,
            markersize=7,
            linestyle="none",
        )
    greatest = max(x for line in points.values() for x, _ in line)
    axes.set_xlim(0, 1.08 * greatest if greatest > 0 else 1.0)  # from nothing: ratios are seen
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))


def _unit(title: str, greatest: float) -> tuple[str, float]:
    if title == "training time":
        if greatest >= 2 * HOUR:
            return "hours", HOUR
        return ("minutes", MINUTE) if greatest >= 2 * MINUTE else ("seconds", 1)
    if greatest >= 1e6:
        return "millions", 1e6
    return ("thousands", 1e3) if greatest >= 1e3 else ("", 1)
