"""Classification metrics by class, and the calibration error of the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

BINS = 15


def classification_report(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return balanced accuracy (%), calibration error (0 .. 1), and the metrics of each class.

    Shapes: ``logits`` ``(N, K)`` and ``labels`` int64 ``(N,)`` on the CPU. ``per_class`` holds
    precision, recall and F1 in percent, 0 where a class was never predicted or has no images,
    and the number of images. Balanced accuracy is the mean recall of the classes that have
    images.
    """
    # scikit-learn takes a while to import, and training needs it only at its end.
    from sklearn.metrics import precision_recall_fscore_support

    numbers = range(len(classes))
    precision, recall, f1, pictures = precision_recall_fscore_support(
        labels.numpy(), logits.argmax(1).numpy(), labels=list(numbers), zero_division=0
    )
    return {
        "balanced_accuracy": 100 * float(recall[pictures > 0].mean()),
        "calibration_error": calibration_error(logits, labels),
        "per_class": [
            {
                "class": classes[k],
                "precision": 100 * float(precision[k]),
                "recall": 100 * float(recall[k]),
                "f1": 100 * float(f1[k]),
                "pictures": int(pictures[k]),
            }
            for k in numbers
        ],
    }


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many images of each class (a row) are given each class (a column).

    Shapes: ``logits`` ``(N, K)`` and ``labels`` int64 ``(N,)`` on the CPU, the matrix ``(K, K)``.
    """
    count = logits.shape[1]
    return torch.bincount(labels * count + logits.argmax(1), minlength=count**2).view(count, count)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error (ECE), 0 .. 1.

    The images are sorted into 15 equal bins by their largest probability. The error is the mean,
    over the images, of their bin's difference between mean probability and accuracy.

    Source: arXiv:1706.04599, section 2.
    """
    confidence, answers = logits.double().softmax(1).max(1)
    surplus = confidence - (answers == labels).double()
    # A bin holds its upper edge, as in the paper.
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    sums = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, surplus)
    return float(sums.abs().sum() / len(labels))
