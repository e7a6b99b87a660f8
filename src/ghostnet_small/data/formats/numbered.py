"""Classes of sets that give labels as values, or names in a file of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.data.listing import main_split
from ghostnet_small.errors import InputError

MOST_CLASSES = 1 << 16


def number_labels(
    values: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Tensor], list[int] | list[str]]:
    """Each split's labels, int64 ``(N,)`` in ``0 .. K - 1``, and the value that each class has.

    ``values`` are integers or strings, ``(N,)`` a split; classes are the training split's values
    in order. ``names`` are the rows' names for messages.

    Raises ``InputError`` for a label that the training split does not have, and for more than
    ``MOST_CLASSES`` of them.
    """
    main = main_split(values)
    keys = np.unique(values[main])
    if len(keys) > MOST_CLASSES:
        raise InputError(
            f"{names[main][0]} and those that follow have {len(keys)} different labels; more "
            f"than {MOST_CLASSES} are not taken for classes"
        )
    labels: dict[str, Tensor] = {}
    for split, found in values.items():
        number = np.searchsorted(keys, found).clip(max=max(len(keys) - 1, 0))
        if wrong := np.flatnonzero(keys[number] != found)[:1].tolist():
            raise InputError(
                f"{names[split][wrong[0]]} has the label {found[wrong[0]].item()!r}, which no "
                "training image has; correct or remove it"
            )
        labels[split] = torch.from_numpy(number.astype(np.int64))
    return labels, keys.tolist()


def check_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return ``names``, which must be readable and distinct.

    Raises ``InputError`` otherwise.
    """
    fit = all(name and name.isprintable() and len(name) <= 100 for name in names)
    if not names or not fit or len(set(names)) != len(names):
        raise InputError(f"{where} does not list distinct, readable class names; correct them")
    return tuple(names)
