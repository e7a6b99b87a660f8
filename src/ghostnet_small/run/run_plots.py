"""Plots of a run: its curves, its confusion matrix and its most confident mistakes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.files import write_atomic
from ghostnet_small.run.plot_fonts import keep_list, lettering, no_warnings

SPLITS = {"train": "#7f8c9b", "validation": "#1f6fb4", "test": "#d1622b"}
INK, FAINT = "#222b36", "#d9dee4"
# A matrix of more classes than this is drawn without its counts, which would not be legible.
MOST_CLASSES_WITH_COUNTS = 30
DPI = 120
FEW_EPOCHS = 20
# The root of the share: mistakes are rare, and in proportion all of them would look white.
SHADE = PowerNorm(0.5, vmin=0.0, vmax=1.0)


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss (log scale), top-1 (%) and learning rate by epoch.

    ``rows`` are those of ``metrics.jsonl``. A split that no row holds is left out.
    """
    figure = new_figure(13.0, 4.0)
    loss, top1, rate = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    for axes, quantity, title in ((loss, "loss", "Loss"), (top1, "top1", "Top-1, %")):
        for split, colour in SPLITS.items():
            values = [row.get(f"{split}_{quantity}") for row in rows]
            points = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
            if not points:
                continue
            label = f"{split}, {_last(points[-1][1], quantity)}"
            axes.plot(*zip(*points, strict=True), color=colour, label=label, **_mark(points))
        _dress(axes, title, len(rows))
        if axes.lines:
            axes.legend(frameon=False, fontsize=9, title="last epoch", title_fontsize=8)
    # Early epochs can be tens of times the last ones, which are what one looks for.
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.yaxis.set_minor_locator(NullLocator())
    rates = [(row["epoch"], row["learning_rate"]) for row in rows]
    if rates:
        rate.plot(*zip(*rates, strict=True), color=INK, **_mark(rates))
    _dress(rate, "Learning rate", len(rows))
    rate.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    save_png(figure, path)


def draw_confusion(matrix: Tensor, classes: Sequence[str], path: Path) -> None:
    """Draw how often each true class (a row) is called each class (a column).

    Shape: ``matrix`` counts ``(K, K)``. The shade is the share of the row, so classes of
    different sizes compare; the number is the count.
    """
    counts = np.asarray(matrix.cpu(), dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = len(classes) > MOST_CLASSES_WITH_COUNTS
    side = min(3.0 + len(classes) * (0.1 if many else 0.36), 14.0)
    figure = new_figure(side + (1.6 if many else 0.8), side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", norm=SHADE, interpolation="nearest")
    letters = lettering(classes)
    names = [_short(name) for name in letters.names]
    size = 5 if many else 9
    look: dict[str, Any] = {"fontsize": size, "family": list(letters.family)}
    axes.set_xticks(range(len(names)), names, rotation=90 if many else 45, **look)
    if not many:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names, **look)
    axes.set_xlabel("said", color=INK, fontsize=11)
    axes.set_ylabel("is", color=INK, fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.4 if many else 1.0)
    axes.tick_params(which="minor", length=0)
    if not many:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.35 else INK
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    right, total = int(np.trace(counts)), int(counts.sum())
    title = _share_title(right, total) + _below(letters.note)
    axes.set_title(title, color=INK, fontsize=11, loc="left", pad=10)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, aspect=35)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    bar.set_label("share of the row", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, color=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)
    if letters.note:
        keep_list(classes, path.parent)
    save_png(figure, path)


def draw_mistakes(
    images: Tensor | MappedImages,
    labels: Tensor,
    predictions: Tensor,
    confidence: Tensor,
    classes: Sequence[str],
    path: Path,
    count: int = 24,
) -> None:
    """Draw the ``count`` wrong answers that were given with the most confidence, enlarged.

    Shapes: ``images`` uint8 ``(N, C, H, W)``; ``labels`` and ``predictions`` int64 ``(N,)``;
    ``confidence`` ``(N,)``, the probability of the predicted class. Colour is shown for three
    channels, else the first channel in grey.
    """
    wrong = (predictions != labels).nonzero().flatten()
    order = confidence[wrong].argsort(descending=True, stable=True)
    shown = wrong[order][:count].tolist()
    columns = min(6, max(len(shown), 3))
    lines = max(-(-len(shown) // columns), 1)
    figure = new_figure(1.85 * columns, 2.2 * lines + 0.4 if shown else 0.6)
    title = f"The most confident of {len(wrong)} mistakes in {len(labels)} images"
    if not shown:
        title = f"No mistakes in {len(labels)} images"
    letters = lettering(classes)
    if shown and letters.note:
        title += _below(letters.note)
        keep_list(classes, path.parent)
    figure.suptitle(title, color=INK, fontsize=11)
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, row in zip(grid, shown, strict=False):
        picture = images[row].permute(1, 2, 0).cpu().numpy()
        if picture.shape[2] != 3:
            picture = picture[:, :, 0]
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        said, true = (_short(letters.names[int(found[row])]) for found in (predictions, labels))
        text = f"said {said} ({float(confidence[row]):.2f}),\nis {true}"
        axes.set_title(text, fontsize=8.5, color=INK, pad=3, family=list(letters.family))
    save_png(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches that belongs to no window and no global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    return figure


def _dress(axes: Axes, title: str, epochs: int) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel("epoch", color=INK)
    axes.set_xlim((0.5, epochs + 0.5) if epochs <= FEW_EPOCHS else (0, epochs))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)


def _mark(points: Sequence[object]) -> dict[str, Any]:
    """Line style: dots while there are few epochs, for one epoch makes no line."""
    return {"linewidth": 1.6, "marker": "o" if len(points) <= FEW_EPOCHS else "", "markersize": 3.5}


def _last(value: float, quantity: str) -> str:
    return f"{value:.2f} %" if quantity == "top1" else f"{value:.3f}"


def _share_title(right: int, total: int) -> str:
    return f"{100 * right / total:.2f} % right: {right} of {total}" if total else "no images"


def _below(note: str) -> str:
    return f"\n({note})" if note else ""


def _short(name: str, most: int = 18) -> str:
    """Shorten a class name; `$` would be read as mathematics."""
    cut = name if len(name) <= most else name[: most - 1] + "…"
    return cut.replace("$", r"\$")


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as PNG."""
    buffer = io.BytesIO()
    with no_warnings():
        figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())
