from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from evidence.figures import render_pictures
from evidence_kit import row, write_facts
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record

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


def test_accuracy_is_drawn_beside_what_is_known(results: Path) -> None:
    append_record(row(0, 92.0, {"data": {"source": "mnist"}}), results / "other.jsonl")
    text = render_pictures(ACCURACY, results.parent / "page.md", results, draw=True)
    assert (
        "small, 2 epochs (n = 2): 83.50 ± 0.71 %." in text
        and "long, one, 3 epochs (n = 1): 86.00 %." in text
    )
    assert "GN-S 1.0 (published): 91.37 %. ResNet-20 (known): 91.9 to 92.6 %.]" in text
    assert "92.00" not in text and "94.0" not in text
    assert "(results/plots/accuracy-cifar10.png)" in text
    assert (results / "plots" / "accuracy-cifar10.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!-- picture: accuracy cifar10 -->\nrest\n", "has no end"),
        ("<!-- picture: pie cifar10 -->\n<!-- end picture -->\n", "unknown picture 'pie cifar10'"),
        ("<!-- picture: accuracy -->\n<!-- end picture -->\n", "unknown picture 'accuracy'"),
        ("<!-- picture: accuracy svhn -->\n<!-- end picture -->\n", "set 'svhn'; name another"),
        ("<!-- picture: curves gpu -->\n<!-- end picture -->\n", "'gpu' is no file of trainings"),
        ("<!-- picture: curves cpu -->\n<!-- end picture -->\n", "choose one by recipe"),
    ],
)
def test_a_bad_picture_is_refused(text: str, why: str, results: Path) -> None:
    with pytest.raises(InputError, match=why):
        render_pictures(text, results.parent / "page.md", results, draw=False)
