"""The columns of a Hugging Face data set: the picture's, the label's, and the classes in that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ghostnet_small.errors import InputError

Features = dict[str, Any]  # column name -> datasets' feature


def find_picture_column(where: str, features: Features) -> str:
    """The column of feature type Image, or of structs {bytes, path}.

    Raises ``InputError`` where there is none or there are several.
    """
    import datasets

    found = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.Image)
        or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{where} has several picture columns: {', '.join(found)}; keep one of them"
        )
    raise InputError(
        f"{where} has no picture column among {', '.join(features)}; one must be of the Hugging "
        "Face type Image, or a struct of bytes and path"
    )


def find_label_column(where: str, features: Features, picture: str, wanted: str | None) -> str:
    """The column ``wanted``, else the only one that looks like a label.

    Raises ``InputError`` where that cannot be told, with the option that tells it.
    """
    import datasets

    named = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    plain = [
        name
        for name, kind in features.items()
        if isinstance(kind, datasets.Value)
        and kind.dtype.removeprefix("large_").rstrip("0123456789") in ("int", "uint", "string")
    ]
    if wanted is not None:
        if wanted in named or wanted in plain:
            return wanted
        have = ", ".join([*named, *plain]) or "none"
        raise InputError(
            f"data.label_column {wanted!r} is not a label column of {where}; it has {have}"
        )
    # A ClassLabel says what it is; without one, a column of integers or strings may be anything,
    # so one that is called a label goes before the others.
    found = named or [name for name in plain if "label" in name.lower()] or plain
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{where} has several label columns: {', '.join(found)}; choose one with "
            f"--data.label_column {found[0]}"
        )
    others = ", ".join(name for name in features if name != picture) or "none"
    raise InputError(
        f"{where} has no label column of integers or strings; its columns beside the picture are: "
        f"{others}"
    )


def label_classes(feature: Any, train_labels: Sequence[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """The value that each class has in the label column, and its name."""
    names = getattr(feature, "names", None)
    if names:
        return list(range(len(names))), tuple(names)
    keys = sorted({value for value in train_labels if value is not None})
    return keys, tuple(str(key) for key in keys)


def class_numbers(
    values: Sequence[Any], keys: Sequence[Any], rows: Sequence[str], column: str
) -> tuple[torch.Tensor, dict[int, str]]:
    """Class numbers, int64 ``(N,)``, of a label column's values.

    A value that is not among ``keys`` gives -1, and a message that names its row.
    """
    number = {key: k for k, key in enumerate(keys)}
    labels = torch.tensor([number.get(value, -1) for value in values], dtype=torch.int64)
    shown = ", ".join(map(str, keys[:10])) + (", ..." if len(keys) > 10 else "")
    broken = {
        row: f"{rows[row]}: {column} {values[row]!r} is not one of the training split's "
        f"{len(keys)} labels ({shown}); correct or remove the row"
        for row in (labels < 0).nonzero().flatten().tolist()
    }
    return labels, broken
