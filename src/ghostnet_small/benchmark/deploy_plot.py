"""Plot accuracy against latency, one image at a time: ours in each runtime, and its peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.report.plots.labelled_points import Labelled, label_points
from ghostnet_small.report.theme import LIGHT
from ghostnet_small.run.run_plots import FAINT, INK, new_figure, save_png

COLOURS = {name: LIGHT[f"series-{number}"] for number, name in enumerate(FORMATS, start=1)}
MUTED = LIGHT["muted"]
SMALL = 9.0  # points of text


@dataclass(frozen=True)
class Point:
    """``latency_ms`` and ``top1`` (%), and how they are drawn."""

    latency_ms: float
    top1: float
    label: str
    colour: str
    filled: bool
    peer: bool


def draw_deploy(value: Mapping[str, Any], path: Path) -> None:
    """Draw the result of ``compare_deployments`` as PNG.

    A peer is drawn once, in the runtime that is its fastest, at its published top-1. Raises
    ``ValueError`` if nothing has both a latency of one image and a top-1.
    """
    points = points_of(value)
    if not points:
        raise ValueError("nothing was timed with one image and has a top-1")
    figure = new_figure(9.6, 5.8)
    axes = figure.subplots()
    _dress(axes, points)
    axes.set_ylabel(f"top-1 of the {value['split']} split, %", color=INK)
    threads = f"{value['threads']} thread{'s' if value['threads'] > 1 else ''}"
    axes.set_title(f"One image at a time, {threads}", loc="left", color=INK, fontsize=11, pad=26)
    for point in points:
        axes.plot(
            point.latency_ms,
            point.top1,
            marker="s" if point.peer else "o",
            color=point.colour,
            markerfacecolor=point.colour if point.filled else "white",
            markersize=7,
            markeredgewidth=1.6,
            linestyle="none",
            zorder=3,
        )
    _legend(axes, points, value)
    figure.text(0.012, 0.012, _origin(value, points), color=MUTED, fontsize=8)
    figure.get_layout_engine().set(rect=(0, 0.035, 1, 0.965))  # type: ignore[union-attr, call-arg]
    # Labels are put where the axes will be.
    figure.draw_without_rendering()
    marks = [Labelled(one.latency_ms, one.top1, one.label, one.colour) for one in points]
    label_points(axes, marks, SMALL)
    save_png(figure, path)


def points_of(value: Mapping[str, Any]) -> list[Point]:
    """Return ours in every runtime, and each peer in its fastest, in float32."""
    timed = [
        one for one in value["candidates"] if "1" in one["latency"] and one["top1"] is not None
    ]
    points = [
        Point(
            _median(one),
            one["top1"],
            f"{one['runtime']}{' int8' if one['precision'] == 'int8' else ''}  {_text(one)}",
            COLOURS.get(one["runtime"], MUTED),
            filled=one["precision"] == "float32",
            peer=False,
        )
        for one in timed
        if one["peer"] is None
    ]
    for name in dict.fromkeys(one["peer"] for one in timed if one["peer"] is not None):
        own = [one for one in timed if one["peer"] == name and one["precision"] == "float32"]
        best = min(own, key=_median, default=None)
        if best is not None:
            label = f"{best['network']} in {best['runtime']}  {_text(best)}"
            points.append(Point(_median(best), best["top1"], label, INK, filled=True, peer=True))
    return points


def _origin(value: Mapping[str, Any], points: Sequence[Point]) -> str:
    origin = f"{value['device']}; code {value['commit']}."
    if any(point.peer for point in points):
        origin += " Peers: top-1 as published, timed with random weights."
    return origin


def _median(one: Mapping[str, Any]) -> float:
    return float(one["latency"]["1"]["median_ms"])


def _text(one: Mapping[str, Any]) -> str:
    latency = _median(one)
    return f"{latency:.{2 if latency < 1 else 1 if latency < 10 else 0}f} ms"


def _dress(axes: Axes, points: Sequence[Point]) -> None:
    latencies = [point.latency_ms for point in points]
    accuracies = [point.top1 for point in points]
    # Room for labels at the sides, where a decade may be all there is.
    ratio = max(max(latencies) / min(latencies), 4.0)
    axes.set_xscale("log")
    axes.set_xlim(min(latencies) / ratio**0.12, max(latencies) * ratio**0.2)
    room = max(max(accuracies) - min(accuracies), 2.0)
    axes.set_ylim(min(accuracies) - 0.35 * room, max(accuracies) + 0.2 * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("median latency, ms", color=INK)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)


def _legend(axes: Axes, points: Sequence[Point], value: Mapping[str, Any]) -> None:
    ours = next((one["network"] for one in value["candidates"] if one["peer"] is None), "ours")
    looks = [(f"{ours}, float32", "o", MUTED)]
    if any(not point.filled for point in points):
        looks.append((f"{ours}, int8", "o", "white"))
    if any(point.peer for point in points):
        looks.append(("a peer, float32, in its fastest runtime", "s", INK))
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=7,
            color=INK if marker == "s" else MUTED,
            markerfacecolor=face,
            markeredgewidth=1.6,
            label=label,
        )
        for label, marker, face in looks
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(handles),
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        handletextpad=0.3,
        borderaxespad=0.2,
    )
