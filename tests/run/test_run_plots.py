from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from ghostnet_small.run import plot_fonts, run_plots
from ghostnet_small.run.run_plots import draw_confusion, draw_curves, draw_mistakes
from small_run import train


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written, for a look at what they hold."""
    seen: list[Figure] = []
    save = run_plots.save_png

    def keep(figure: Figure, path: Path) -> None:
        seen.append(figure)
        save(figure, path)

    monkeypatch.setattr(run_plots, "save_png", keep)
    return seen


def row(epoch: int, **more: float) -> dict[str, Any]:
    return {"epoch": epoch, "learning_rate": 0.1, "train_loss": 1 / epoch, "train_top1": 50, **more}


def is_png(path: Path) -> bool:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        picture.load()
        return picture.format == "PNG" and np.asarray(picture).std() > 0


@pytest.mark.parametrize("epochs", [1, 3, 40])
def test_curves_show_the_splits_that_the_rows_hold(
    epochs: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    rows = [row(e, validation_loss=2 / e, validation_top1=40.0) for e in range(1, epochs + 1)]
    draw_curves(rows, tmp_path / "c.png")
    assert is_png(tmp_path / "c.png")
    loss, top1, rate = drawn[0].axes
    assert [line.get_label() for line in top1.lines] == ["train, 50.00 %", "validation, 40.00 %"]
    assert list(loss.lines[1].get_ydata()) == [r["validation_loss"] for r in rows]
    assert len(rate.lines) == 1


def test_curves_of_a_monitored_test_split_without_validation(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    rows = [row(1, test_loss=1.0, test_top1=12.0), row(2, test_loss=0.5, test_top1=34.0)]
    draw_curves(rows, tmp_path / "c.png")
    assert [str(line.get_label()).split(",")[0] for line in drawn[0].axes[0].lines] == [
        "train",
        "test",
    ]


def test_confusion_is_shaded_by_row_and_numbered_by_count(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    matrix = torch.tensor([[3, 1], [0, 2]])
    draw_confusion(matrix, ["cat", "dog"], tmp_path / "m.png")
    assert is_png(tmp_path / "m.png")
    axes = drawn[0].axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2"]
    assert "83.33 % right: 5 of 6" in axes.get_title("left")


def test_confusion_of_a_hundred_classes_and_of_an_empty_row(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    matrix = torch.diag(torch.arange(100))
    draw_confusion(matrix, [f"class {k} of a set with names" for k in range(100)], tmp_path / "m")
    assert not drawn[0].axes[0].texts
    width, height = drawn[0].get_size_inches() * drawn[0].dpi
    assert max(width, height) < 2000


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_come_most_confident_first(
    channels: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, channels, 2, 2)
    labels = torch.tensor([0, 0, 1, 1])
    predictions = torch.tensor([1, 0, 0, 0])
    confidence = torch.tensor([0.6, 1.0, 0.7, 0.9])
    draw_mistakes(
        images, labels, predictions, confidence, ["cat", "do$"], tmp_path / "w.png", count=2
    )
    assert is_png(tmp_path / "w.png")
    used = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_title() for axes in used] == [
        "said cat (0.90),\nis do\\$",
        "said cat (0.70),\nis do\\$",
    ]
    assert [int(axes.images[0].get_array().max()) for axes in used] == [3, 2]


def test_no_mistake_is_said_so(tmp_path: Path, drawn: list[Figure]) -> None:
    labels = torch.zeros(2, dtype=torch.int64)
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    draw_mistakes(images, labels, labels, torch.ones(2), ["a", "b"], tmp_path / "w.png")
    assert is_png(tmp_path / "w.png")
    assert drawn[0].get_suptitle() == "No mistakes in 2 images"


# -- letters that fonts lack -------------------------------------------------------------------


@pytest.fixture
def own_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the fonts that come with matplotlib."""
    own = [
        font
        for font in font_manager.fontManager.ttflist
        if Path(font.fname).is_relative_to(Path(matplotlib.get_data_path()))
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    plot_fonts._family.cache_clear()
    yield
    plot_fonts._family.cache_clear()


@pytest.mark.usefixtures("own_fonts")
def test_names_that_no_font_has_are_numbers_with_a_list(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    classes = ["\u732b", "dog", "b\udce4r"]
    draw_confusion(torch.eye(3, dtype=torch.int64), classes, tmp_path / "m.png")
    axes = drawn[0].axes[0]
    names = ["#0", "dog", "b\\udce4r"]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert "#n: no font here" in axes.get_title("left")
    listed = (tmp_path / "classes.txt").read_text().splitlines()
    assert listed == ["#0 \u732b", "#1 dog", "#2 b\\udce4r"]
    labels, predictions = torch.tensor([0, 1]), torch.tensor([1, 0])
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    draw_mistakes(images, labels, predictions, torch.ones(2), classes, tmp_path / "w.png")
    used = [axes.get_title() for axes in drawn[1].axes if axes.images]
    assert used == ["said dog (1.00),\nis #0", "said #0 (1.00),\nis dog"]


@pytest.mark.usefixtures("own_fonts")
def test_a_font_that_has_the_letters_is_found(tmp_path: Path, drawn: list[Figure]) -> None:
    # Of the fonts of matplotlib only STIX has this letter.
    draw_confusion(torch.eye(2, dtype=torch.int64), ["\u2316", "dog"], tmp_path / "m.png")
    labels = drawn[0].axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["\u2316", "dog"]
    assert labels[0].get_fontfamily() == ["DejaVu Sans", "STIXGeneral"]
    assert not (tmp_path / "classes.txt").exists()


def test_a_runs_pictures_are_drawn_by_no_matplotlibrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file may lie in any folder that the program is started in."""
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "#ff0000")
    assert train(tmp_path / "run") == 0
    pixels = np.asarray(Image.open(tmp_path / "run/pictures/curves.png").convert("RGB"))
    assert not (pixels == (255, 0, 0)).all(-1).any()
    assert matplotlib.rcParams["axes.facecolor"] == "#ff0000"
