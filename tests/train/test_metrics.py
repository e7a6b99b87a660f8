"""Figures of each class and calibration, by hand and against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from ghostnet_small.train.metrics import calibration_error, classification_report, confusion

NAMES = ("ant", "bee", "cat", "dog")


def answers(*said: int) -> Tensor:
    """Logits whose largest stands at the class that was said."""
    return 3 * torch.nn.functional.one_hot(torch.tensor(said), 4).float()


def test_each_class_by_hand() -> None:
    # Ants: 3 of 4 found, and one other picture called so. No cat is ever said, no dog is there.
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    report = classification_report(answers(0, 0, 0, 1, 1, 0, 3), labels, NAMES)
    assert report["per_class"] == [
        {"class": "ant", "precision": 75.0, "recall": 75.0, "f1": 75.0, "pictures": 4},
        {"class": "bee", "precision": 50.0, "recall": 50.0, "f1": 50.0, "pictures": 2},
        {"class": "cat", "precision": 0.0, "recall": 0.0, "f1": 0.0, "pictures": 1},
        {"class": "dog", "precision": 0.0, "recall": 0.0, "f1": 0.0, "pictures": 0},
    ]
    # The dog is no class of these pictures.
    assert report["balanced_accuracy"] == pytest.approx((75 + 50 + 0) / 3)


def test_figures_are_those_of_scikit_learn() -> None:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(300, 4, generator=random)
    labels = torch.multinomial(torch.tensor([8.0, 4, 2, 1]), 300, True, generator=random)
    report = classification_report(logits, labels, NAMES)
    said = logits.argmax(1)
    assert report["balanced_accuracy"] == pytest.approx(
        100 * metrics.balanced_accuracy_score(labels, said)
    )
    theirs = metrics.classification_report(labels, said, target_names=NAMES, output_dict=True)
    for one in report["per_class"]:
        other = theirs[one["class"]]
        assert one["precision"] == pytest.approx(100 * other["precision"])
        assert one["recall"] == pytest.approx(100 * other["recall"])
        assert one["f1"] == pytest.approx(100 * other["f1-score"])
        assert one["pictures"] == other["support"]


def test_confusion_has_a_row_for_each_label() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    matrix = confusion(answers(0, 0, 0, 1, 1, 0, 3), labels)
    assert matrix.tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def sure(*probabilities: float) -> Tensor:
    """Logits of two classes that give class 0 these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack((p, 1 - p), dim=1).log()


def test_calibration_error_by_hand() -> None:
    # Bins are fifteenths. 0.95, 0.96 and 0.99 share the last, two of three right; 0.61 and 0.65
    # share one, none right; 0.7 of class 1 stands alone and is right.
    logits = sure(0.95, 0.96, 0.99, 0.61, 0.65, 0.3)
    labels = torch.tensor([0, 1, 0, 1, 1, 1])
    expected = (abs(0.95 + 0.96 + 0.99 - 2) + (0.61 + 0.65) + 0.3) / 6
    assert calibration_error(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_errors_of_one_bin_make_up_for_each_other_and_those_of_two_do_not() -> None:
    right, wrong = torch.tensor([0, 0]), torch.tensor([0, 1])
    assert calibration_error(sure(1.0, 1.0), right) == 0
    assert calibration_error(sure(0.5 + 1e-9, 0.5 + 1e-9), wrong) == pytest.approx(0, abs=1e-8)
    assert calibration_error(sure(0.95, 0.75), wrong) == pytest.approx((0.05 + 0.75) / 2)


def test_an_edge_belongs_to_the_bin_below() -> None:
    # 12/15 exactly, and a little more: two bins, so the errors do not make up for each other.
    logits = sure(0.8 - 1e-12, 0.8 + 1e-6)
    labels = torch.tensor([1, 0])
    assert calibration_error(logits, labels) == pytest.approx((0.8 + 0.2) / 2, abs=1e-5)
