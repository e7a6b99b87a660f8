"""The figures of documents: accuracy against size, and curves by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from evidence.cost_tables import SETS, macs_of
from evidence.fields import mean_of
from evidence.recipe_facts import Fact
from ghostnet_small.report.confidence import Estimate
from ghostnet_small.report.theme import LIGHT
from ghostnet_small.run.records import Record
from ghostnet_small.run.run_plots import FAINT, INK, new_figure, save_png

OURS, PUBLISHED, KNOWN = LIGHT["series-1"], LIGHT["series-2"], LIGHT["muted"]
COLOURS = [LIGHT[f"series-{number}"] for number in range(1, 8)]
LINES: dict[str, Any] = {"train": (0, (2, 1.5)), "validation": "-"}
# Epochs before this share of a training need not fit: what one compares comes after them.
BEGINNING = 0.25
SMALL = 9.0  # points of text
MARK = 8.0  # pixels from the middle of a mark to its edge
# Where a label may stand: its offset in points, and its alignment.
SIDES: tuple[tuple[tuple[float, float], str, str], ...] = (
    ((7, 0), "left", "center"),
    ((-7, 0), "right", "center"),
    ((0, 6), "center", "bottom"),
    ((0, -6), "center", "top"),
    ((6, 5), "left", "bottom"),
    ((6, -5), "left", "top"),
    ((-6, 5), "right", "bottom"),
    ((-6, -5), "right", "top"),
    # Over or under a neighbour's mark.
    ((6, 10), "left", "bottom"),
    ((6, -10), "left", "top"),
    ((-6, 10), "right", "bottom"),
    ((-6, -10), "right", "top"),
)
# By label, a variant of a sweep over batch sizes.
Speeds = dict[str, Record]
Curves = Mapping[str, Mapping[str, Sequence[tuple[int, Estimate]]]]


@dataclass(frozen=True)
class Point:
    """A point in the axes' own units, its label and the colour of both."""

    x: float
    y: float
    label: str
    colour: str


def macs_of_fact(fact: Fact, of_set: str) -> float:
    """Return its multiply-accumulates as its source states them, or as we count those of our
    network.
    """
    if fact.macs is not None:
        return fact.macs
    assert fact.model is not None and fact.width is not None
    return macs_of(fact.model, fact.width, SETS[of_set], "deployed")


def draw_accuracy(
    ours: Mapping[str, Sequence[Record]], facts: Sequence[Fact], of_set: str, path: Path
) -> None:
    """Draw top-1 in % against millions of multiply-accumulates, deployed, in the log."""
    figure = new_figure(8.0, 5.8)
    axes = figure.subplots()
    points: list[Point] = []
    for label, runs in ours.items():
        mean = mean_of(runs, "test_top1")
        assert mean is not None
        macs = runs[0]["model"]["macs"]["deployed"] / 1e6
        axes.errorbar(macs, mean.mean, yerr=mean.deviation, color=OURS, fmt="o", zorder=3)
        points.append(Point(macs, mean.mean, label, OURS))
    for fact in facts:
        middle, colour = sum(fact.top1) / 2, PUBLISHED if fact.model else KNOWN
        macs, marker = macs_of_fact(fact, of_set) / 1e6, "D" if fact.model else "s"
        axes.plot(macs, middle, color=colour, marker=marker, markerfacecolor="white", zorder=2)
        points.append(Point(macs, middle, fact.what, colour))
    axes.set_xscale("log")
    across, up = ([getattr(point, way) for point in points] for way in ("x", "y"))
    axes.set_xlim(min(across) / 1.15, max(across) * 1.5)
    axes.set_ylim(min(up) - 0.6, max(up) + 0.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("multiply-accumulates of the deployed network, millions", color=INK)
    axes.set_ylabel("test top-1, %", color=INK)
    _dress(axes)
    _legend(
        axes,
        [
            _mark("ours, last epoch", OURS, "o", OURS),
            _mark("the paper, best of all test epochs", PUBLISHED, "D", "white"),
            _mark("other networks, as published", KNOWN, "s", "white"),
        ],
    )
    label_apart(axes, points)
    save_png(figure, path)


def label_apart(axes: Axes, points: Sequence[Point]) -> list[Bbox]:
    """Label each point at the first of ``SIDES`` where nothing else is; returns where they are.

    A label stays beside its point, and one that finds no free side is left out: the words below
    the figure hold them all.
    """
    # Labels are put where the axes will be.
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    spots = axes.transData.transform([(point.x, point.y) for point in points])
    taken = [Bbox.from_bounds(x - MARK, y - MARK, 2 * MARK, 2 * MARK) for x, y in spots]
    labels = []
    for point in points:
        text = axes.annotate(
            point.label,
            (point.x, point.y),
            (0, 0),
            textcoords="offset points",
            color=point.colour,
            fontsize=SMALL,
        )
        text.set_in_layout(False)
        for offset, beside, above in SIDES:
            text.set(position=offset, ha=beside, va=above)
            box = text.get_window_extent()
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            if inside and box.count_overlaps(taken) == 0:
                taken.append(box)
                labels.append(box)
                break
        else:
            text.remove()
    return labels


def draw_curves(curves: Curves, path: Path) -> None:
    """Draw training and validation top-1 by epoch: means of seeds in a band of their deviation."""
    figure = new_figure(10.0, 4.8)
    axes = figure.subplots()
    later = []
    for splits, colour in zip(curves.values(), COLOURS, strict=False):
        for split, curve in splits.items():
            if not curve:
                continue
            epochs = [epoch for epoch, _ in curve]
            means = [one.mean for _, one in curve]
            spreads = [one.deviation or 0.0 for _, one in curve]
            low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
            high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, means, color=colour, linestyle=LINES[split], linewidth=1.7)
            beginning = int(BEGINNING * len(curve))
            later += [*low[beginning:], *high[beginning:]]
    axes.set_ylim(min(later) - 0.5, min(max(later) + 0.5, 100.0))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("top-1, %", color=INK)
    _dress(axes)
    handles = [
        Line2D([], [], color=colour, linewidth=2.5, label=label)
        for label, colour in zip(curves, COLOURS, strict=False)
    ]
    handles.append(Line2D([], [], color=INK, linestyle=LINES["validation"], label="validation"))
    handles.append(Line2D([], [], color=INK, linestyle=LINES["train"], label="training, augmented"))
    _legend(axes, handles)
    save_png(figure, path)


def draw_speeds(speeds: Speeds, path: Path) -> None:
    """Draw images per second by batch size, both in the log, and the speeds of a line of its time.

    Bars are quartiles of the turns.
    """
    figure = new_figure(10.0, 4.8)
    axes = figure.subplots()
    handles = []
    for (label, variant), colour in zip(speeds.items(), COLOURS, strict=False):
        batches = [int(batch) for batch in variant["batches"]]
        found = list(variant["batches"].values())
        middles = [one["images_per_s"] for one in found]
        low = [one["images_per_s"] - one["images_per_s_quartile1"] for one in found]
        high = [one["images_per_s_quartile3"] - one["images_per_s"] for one in found]
        axes.errorbar(batches, middles, yerr=(low, high), color=colour, fmt="o", zorder=3)
        times = [variant["fixed_ms"] + variant["image_ms"] * batch for batch in batches]
        line = [(n, 1000 * n / time) for n, time in zip(batches, times, strict=True) if time > 0]
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.4)
        cost = f"{label}: fixed {variant['fixed_ms']:.3g} ms a step"
        handles.append(Line2D([], [], color=colour, marker="o", label=cost))
    ticks = sorted({int(batch) for variant in speeds.values() for batch in variant["batches"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{batch:,}" for batch in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log")
    _dress(axes)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images in a batch", color=INK)
    axes.set_ylabel("images per second", color=INK)
    _legend(axes, handles, columns=2)
    save_png(figure, path)


def _mark(label: str, colour: str, marker: str, face: str) -> Line2D:
    line = Line2D([], [], color=colour, marker=marker, label=label, linestyle="none")
    line.set_markerfacecolor(face)
    return line


def _dress(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=SMALL)


def _legend(axes: Axes, handles: Sequence[Line2D], columns: int = 4) -> None:
    axes.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=min(len(handles), columns),
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        borderaxespad=0.2,
    )
