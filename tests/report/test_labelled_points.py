from __future__ import annotations

from ghostnet_small.report.plots.labelled_points import Labelled, label_points
from ghostnet_small.run.run_plots import new_figure


def test_labels_hide_neither_points_nor_each_other() -> None:
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    points = [Labelled(5.0, 5.0 + 0.1 * k, f"a point called {k}", "#123456") for k in range(4)]
    figure.draw_without_rendering()
    label_points(axes, points, 9.0)
    assert [text.get_text() for text in axes.texts] == [point.label for point in points]
    assert {text.get_color() for text in axes.texts} == {"#123456"}
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    spots = axes.transData.transform([(point.x, point.y) for point in points])
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(box.contains(*spot) for spot in spots)
