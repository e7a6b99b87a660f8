"""What a reader of the terminal is told, where it depends on the figures."""

from __future__ import annotations

from typing import Any

import pytest

from ghostnet_small.cli import terminal


def evaluation(count: int) -> dict[str, Any]:
    """``count`` classes; the later one has the higher F1, and the first has no pictures."""
    return {
        "split": "test",
        "weights": "last",
        "folded": False,
        "top1": 50.0,
        "loss": 1.0,
        "correct": 5,
        "total": 10,
        "balanced_accuracy": 41.237,
        "calibration_error": 0.0625,
        "per_class": [
            {
                "class": f"[class {k}]",
                "precision": 12.5,
                "recall": 25.0,
                "f1": 0.5 * k,
                "pictures": 1000 * k,
            }
            for k in range(count)
        ],
    }


def test_few_classes_are_all_shown_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_evaluation(evaluation(4))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1] == "balanced accuracy 41.24 %, calibration error 0.0625"
    assert lines[2].split() == ["class", "precision", "recall", "F1", "images"]
    rows = [line.split("]")[0].strip() for line in lines if "[class" in line]
    assert rows == ["[class 0", "[class 1", "[class 2", "[class 3"]
    assert " ".join(lines[-1].split()) == "[class 3] 12.50 % 25.00 % 1.50 % 3,000"


def test_flip_averaging_is_told_where_it_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_evaluation({**evaluation(4), "flip_top1": 52.345, "flip_correct": 5})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "averaged with their mirror images: top-1 52.34 %"


def test_of_many_classes_the_worst_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    value = evaluation(31)
    value["per_class"].reverse()
    terminal.show_evaluation(value)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = [line.split("]")[0].strip() for line in lines if "[class" in line]
    # The one without pictures has nothing to be bad at.
    assert rows == [f"[class {k}" for k in range(1, 11)]
    assert lines[-1] == "the 10 of 31 classes with the lowest F1; --json has all"


TRAINED = {
    "run": "runs/a",
    "best": None,
    "device": {"name": "a CPU"},
    "wall_seconds": 60.0,
    "images_per_s": 100.0,
    "last": {"test_top1": 50.0, "test_loss": 1.0, "test_correct": 5, "test_total": 10},
}


@pytest.mark.parametrize(
    ("balanced", "told"), [(None, ""), (50.001, ""), (41.237, ", balanced accuracy 41.24 %")]
)
def test_a_training_tells_balanced_accuracy_where_it_differs(
    balanced: float | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    last = dict(TRAINED["last"])  # type: ignore[call-overload]
    if balanced is not None:
        last["test_balanced_accuracy"] = balanced
    terminal.show_training({**TRAINED, "last": last})
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"test  top-1 50.00 % (5 of 10), loss 1.0000{told}"


@pytest.mark.parametrize(
    ("ratio", "told"),
    [
        (1.0, "equally many training images in all"),
        (3.0, "the largest has 3.0 times the training images of the smallest"),
        (
            7.0,
            "the largest has 7.0 times the training images of the smallest; train.class_weights "
            "or train.sampler balanced evens that out",
        ),
    ],
)
def test_data_tells_how_unequal_the_classes_are(
    ratio: float, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.show_data(
        {
            "images": {"train": 8},
            "images_by_class": {"a": {"train": 7}, "b": {"train": 1}},
            "imbalance": ratio,
            "size": [8, 8],
            "channels": 1,
            "mean": [0.5],
            "std": [0.25],
            "form": "parquet",
            "image_column": "img",
            "label_column": "fine\nlabel",
            "fingerprint": "f",
            "skipped": [],
            "cache": {"folders": [], "bytes": 0},
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert f"classes       {told}" in lines
    assert "form          parquet" in lines and "image column  img" in lines
    assert "label column  fine\\nlabel" in lines


LONG_NAME = "n02123045 tabby, tabby cat (a domestic cat whose fur has stripes, swirls or spots) "


@pytest.mark.parametrize("columns", [None, 80])
def test_long_names_are_whole(
    columns: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is not None:  # a terminal of that width
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "dumb")
    value = evaluation(2)
    for one, sex in zip(value["per_class"], ("female", "male"), strict=True):
        one["class"] = LONG_NAME.replace(" ", "_") * 2 + sex
    terminal.show_evaluation(value)
    out = capsys.readouterr().out
    table = out[out.index("class ") :].splitlines()
    assert all(len(line) <= (columns or 1000) for line in table)
    # What went on below, put together again.
    shown = "".join(line.split()[0] for line in table if line.strip())
    for one in value["per_class"]:
        assert one["class"] in shown, out


def test_info_lists_the_classes_of_weights_in_the_order_of_their_logits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    costs = {"training": 2, "deployed": 1}
    about = {"architecture": "a", "width": 1.0, "classes": 3, "picture": [3, 8, 8]}
    value = {**about, "params": costs, "macs": costs}
    terminal.show_model({**value, "class_names": ["0", "10", "2"]})
    assert capsys.readouterr().out.endswith("\nclasses  0, 10, 2 (in the order of the logits)\n")
    terminal.show_model(value)
    assert "logits" not in capsys.readouterr().out
    terminal.show_model({**value, "class_names": [str(k) for k in range(31)]})
    assert ", 28, 29 (in the order of the logits; --json has all)" in capsys.readouterr().out
