"""Plots of a fit's report: what they show, and that nothing of it overlaps or is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from ghostnet_small.fit.fit_plots import (
    FAINTEST,
    RIGHT,
    STRONGEST,
    WRONG,
    confusion_plot,
    curves_plot,
    draw_confusion,
    draw_curve,
)
from ghostnet_small.report.plots.draw import settings
from ghostnet_small.report.theme import DARK, LIGHT

LONG = "northern long-billed marsh wren of the eastern coast"


@pytest.fixture(autouse=True)
def drawing() -> Iterator[None]:
    with settings():
        yield


def row(epoch: int, **more: float) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "train_top1": 50.0 + epoch, **more}


def shades(figure: Figure) -> dict[tuple[tuple[float, ...], float], int]:
    """How many cells have which colour and opacity."""
    return {
        (to_rgb(patch.get_facecolor()), patch.get_alpha()): len(patch.get_path().vertices) // 5
        for patch in figure.axes[0].patches
    }


def counts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_cells_are_shaded_by_row_and_numbered_by_count() -> None:
    figure = draw_confusion([[3, 1, 0], [0, 1200, 0], [1, 0, 99]], ("ant", "bee", "cat"))
    assert counts_of(figure) == ["3", "1", "1200", "1", "99"]
    middle = round(FAINTEST + (STRONGEST - FAINTEST) * 0.75**0.5, 2)
    found = shades(figure)
    assert found[to_rgb(RIGHT), STRONGEST] == 2 and found[to_rgb(RIGHT), middle] == 1
    # A quarter of a row is much, for a mistake.
    assert found[to_rgb(WRONG), STRONGEST] == 1 and len(found) == 4


def some(count: int) -> list[list[int]]:
    """A thousand images right of each class, and a few mistakes of the first."""
    matrix = np.diag(np.full(count, 1000))
    matrix[0, 1:] = 7
    found: list[list[int]] = matrix.tolist()
    return found


def boxes(figure: Figure, texts: list[Text]) -> np.ndarray:
    """Left, bottom, right and top of each, in points."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    found = [text.get_window_extent(renderer).extents for text in texts]
    return np.array(found) * 72 / figure.dpi


@pytest.mark.parametrize("count", [2, 3, 10, 11, 22, 50, 100])
@pytest.mark.parametrize("name", ["", LONG])
def test_names_and_counts_neither_overlap_nor_are_cut(count: int, name: str) -> None:
    names = [f"{number} {name}".strip() for number in range(count)]
    figure = draw_confusion(some(count), names)
    axes = figure.axes[0]
    left, below = boxes(figure, axes.get_yticklabels()), boxes(figure, axes.get_xticklabels())
    # From the top down, and from the left.
    assert all(lower[3] <= upper[1] for upper, lower in pairwise(left))
    assert all(first[2] <= second[0] for first, second in pairwise(below))
    width, height = figure.get_size_inches() * 72
    every = boxes(figure, [*axes.get_yticklabels(), *axes.get_xticklabels(), *figure.texts])
    assert every[:, :2].min() >= 0 and every[:, 2].max() <= width and every[:, 3].max() <= height
    titles = boxes(figure, figure.texts)  # of the columns, then of the rows
    assert titles[0, 3] <= below[:, 1].min() and titles[1, 2] <= left[:, 0].min()
    if axes.texts:
        cell = axes.get_window_extent().width / count * 72 / figure.dpi
        inside = boxes(figure, axes.texts)
        assert (inside[:, 2] - inside[:, 0]).max() <= cell
        assert (inside[:, 3] - inside[:, 1]).max() <= cell + 2  # with room for an accent


def test_counts_and_names_are_left_out_where_they_have_no_room() -> None:
    def drawn(count: int) -> Figure:
        return draw_confusion(some(count), [str(number) for number in range(count)])

    assert sorted(counts_of(drawn(10))) == ["1000"] * 10 + ["7"] * 9
    assert counts_of(drawn(50)) == ["7"] * 49
    assert counts_of(drawn(100)) == []
    shown = [label.get_text() for label in drawn(100).axes[0].get_yticklabels()]
    assert shown[:3] == ["0", "2", "4"]


def test_a_class_without_images_and_no_mistakes() -> None:
    figure = draw_confusion([[4, 0], [0, 0]], ("ant", "bee"))
    assert counts_of(figure) == ["4"] and len(shades(figure)) == 1


def test_a_count_can_be_read_on_every_cell() -> None:
    def channels(colour: str) -> np.ndarray:
        return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for theme in (LIGHT, DARK):
        for role in ("series-1", "series-2"):
            cell = STRONGEST * channels(theme[role]) + (1 - STRONGEST) * channels(theme["page"])
            low, high = sorted((luminance(cell), luminance(channels(theme["ink"]))))
            assert (high + 0.05) / (low + 0.05) >= 4.5, role


def test_curves_show_the_splits_that_the_rows_have() -> None:
    rows = [row(1, validation_top1=40.0), row(2, validation_top1=45.5)]
    figure = draw_curve(rows, "top1", "Top-1, %")
    train, validation = figure.axes[0].lines
    assert list(train.get_ydata()) == [51.0, 52.0]
    assert list(validation.get_ydata()) == [40.0, 45.5]
    assert train.get_color() != validation.get_color()
    assert train.get_linestyle() != validation.get_linestyle()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["train 52.00", "validation 45.50"]
    (loss,) = draw_curve(rows, "loss", "Loss").axes[0].lines
    assert list(loss.get_ydata()) == [1.0, 0.5]


def test_one_epoch_is_a_point_and_many_are_a_line() -> None:
    (one,) = draw_curve([row(1)], "loss", "Loss").axes[0].lines
    assert one.get_marker() == "o"
    (many,) = draw_curve([row(epoch) for epoch in range(1, 41)], "loss", "Loss").axes[0].lines
    assert many.get_marker() == ""


def test_every_colour_is_the_pages() -> None:
    for drawing in (confusion_plot([[3, 1], [0, 2]], ("a<b", "c"), "w"), curves_plot([row(1)])):
        assert "var(--ink)" in drawing and 'style="--inches: ' in drawing
        assert not re.findall(r"(?:fill|stroke|color): ?#", drawing)
        assert "a<b" not in drawing
