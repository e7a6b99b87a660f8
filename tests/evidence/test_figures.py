from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evidence.drawn import Point, label_apart
from evidence.figures import LONG, render_pictures
from evidence_kit import row, write_facts
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record
from ghostnet_small.run.run_plots import new_figure

CURVES = (
    '# A\n\n<!-- picture: curves cpu recipe="small" and recipe="long, one" -->\nold\n'
    "<!-- end picture -->\n\nafter\n"
)
ACCURACY = "<!-- picture: accuracy cifar10 -->\n<!-- end picture -->\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    write_facts(results)
    for seed, top1 in enumerate((83.0, 84.0)):
        append_record(row(seed, top1), results / "cpu.jsonl")
    longer = row(0, 86.0, {"name": "long, one", "train": {"epochs": 3}})
    append_record(longer, results / "cpu.jsonl")
    return results


def test_curves_are_drawn_and_told(results: Path) -> None:
    document = results.parent / "docs" / "page.md"
    text = render_pictures(CURVES, document, results, draw=True)
    assert text == (
        '# A\n\n<!-- picture: curves cpu recipe="small" and recipe="long, one" -->\n\n'
        "![Top-1 by epoch, at the last one. "
        "small, 2 epochs (n = 2): train 80.50 ± 0.71 %, validation 84.50 ± 0.71 %. "
        "long, one, 3 epochs (n = 1): train 84.00 %, validation 88.00 %.]"
        "(../results/plots/curves-cpu-small-long-one.png)\n\n<!-- end picture -->\n\nafter\n"
    )
    file = results / "plots" / "curves-cpu-small-long-one.png"
    with Image.open(file) as picture:
        assert picture.size[0] == 1200
    file.unlink()
    # A check draws nothing, and finds other figures by the words.
    assert render_pictures(text, document, results, draw=False) == text and not file.exists()
    append_record(row(2, 90.0), results / "cpu.jsonl")
    assert render_pictures(text, document, results, draw=False) != text


def long_row(seed: int, top1: float, name: str = "long", **settings: object) -> dict[str, Any]:
    return row(seed, top1, {"name": name, "train": {"epochs": LONG}, **settings})


def test_accuracy_shows_the_best_long_recipe_by_validation(results: Path) -> None:
    for seed in (0, 1):
        append_record(long_row(seed, 91.0 + seed), results / "gpu.jsonl")
        # More on test, but less on validation.
        worse = long_row(seed, 95.0, "worse", optimizer={"learning_rate": 0.3})
        worse["last"]["validation_top1"] = 60.0
        append_record(worse, results / "gpu.jsonl")
    part = long_row(0, 99.0, "part", data={"source": "cifar10", "limit": 100})
    distilled = long_row(0, 93.0, "KD", distill={"teachers": ["a"]})
    distilled["distill"] = {"teachers": []}
    teacher = long_row(0, 99.0, "teacher", model={"name": "resnet18"})
    elsewhere = long_row(0, 99.0, "other", data={"source": "mnist"})
    for one in (part, distilled, teacher, elsewhere):
        append_record(one, results / "gpu.jsonl")
    append_record(long_row(7, 99.0, "searched"), results / "search-x.jsonl")
    text = render_pictures(ACCURACY, results.parent / "page.md", results, draw=True)
    # The rows of two and three epochs, those of a part of the images, of a teacher and of a search
    # are not in it; neither are figures of devices, goals and large networks.
    assert (
        "![Top-1 on cifar10 against multiply-accumulates of the deployed network. "
        f"GN-S 1.0, ours (long, {LONG} epochs (n = 2)): 91.50 ± 0.71 %. "
        f"GN-S 1.0, distilled, ours (KD, {LONG} epochs (n = 1)): 93.00 %. "
        "GN-S 1.0 (published): 91.37 %. ResNet-20 (known): 91.9 to 92.6 %.]"
        "(results/plots/accuracy-cifar10.png)"
    ) in text
    assert (results / "plots" / "accuracy-cifar10.png").stat().st_size > 10_000


def test_labels_hide_neither_points_nor_one_another() -> None:
    axes = new_figure(8.0, 5.2).subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    middle = [
        Point(5 + x / 4, 5 + y / 4, f"{x} and {y}", "black") for x in (0, 1) for y in range(3)
    ]
    points = [*middle, Point(9.9, 9.9, "in the corner", "black")]
    labels = label_apart(axes, points)
    assert 4 <= len(labels) <= len(points)
    spots = axes.transData.transform([(point.x, point.y) for point in points])
    for place, label in enumerate(labels):
        assert not any(label.overlaps(other) for other in labels[place + 1 :])
        assert not any(label.contains(*spot) for spot in spots)
        assert axes.bbox.containsx(label.x1)
    assert len(labels) == len(axes.texts)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!-- picture: accuracy cifar10 -->\nrest\n", "has no end"),
        ("<!-- picture: pie cifar10 -->\n<!-- end picture -->\n", "unknown picture 'pie cifar10'"),
        ("<!-- picture: accuracy -->\n<!-- end picture -->\n", "unknown picture 'accuracy'"),
        ("<!-- picture: accuracy svhn -->\n<!-- end picture -->\n", "set 'svhn'; name one other"),
        ("<!-- picture: accuracy cifar10 cpu -->\n<!-- end picture -->\n", "name one other set"),
        ("<!-- picture: curves gpu -->\n<!-- end picture -->\n", "'gpu' is no file of trainings"),
        ("<!-- picture: curves cpu -->\n<!-- end picture -->\n", "choose one by recipe"),
    ],
)
def test_a_bad_picture_is_refused(text: str, why: str, results: Path) -> None:
    with pytest.raises(InputError, match=why):
        render_pictures(text, results.parent / "page.md", results, draw=False)
