"""The columns of a Hugging Face data set: that of the images, and that of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ghostnet_small.errors import InputError

Features = dict[str, Any]  # column name -> datasets' feature


def read_features(schema: Any) -> Features:
    """The types of a parquet file's columns, of which its Hugging Face metadata may say more.

    A dictionary column (pandas' categorical) has the type of its values, and one that ``datasets``
    does not know the name of its Arrow type.
    """
    import datasets
    import pyarrow as pa

    found: Features = {}
    for field in schema:
        if pa.types.is_dictionary(field.type):
            field = field.with_type(field.type.value_type)
        try:
            one = pa.schema([field], metadata=schema.metadata)
            found[field.name] = datasets.Features.from_arrow_schema(one)[field.name]
        except Exception:  # NotImplementedError, ValueError and others, by version
            found[field.name] = str(field.type)
    return found


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
            f"{where} has several image columns: {', '.join(found)}; keep one of them (in "
            "datasets: remove_columns)"
        )
    raise InputError(
        f"{where} has no image column among {_with_types(features)}; one must be of the Hugging "
        "Face type Image, or a struct of bytes and path (in datasets: cast_column(NAME, Image()))"
    )


def label_kind(feature: Any) -> str | None:
    """``int``, ``bool``, ``float`` or ``string`` of a type that labels may have, else None."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return "int"
    if not isinstance(feature, datasets.Value):
        return None
    word = feature.dtype.removeprefix("large_").removesuffix("_view").rstrip("0123456789")
    kind = word.removeprefix("u")
    return kind if kind in ("int", "bool", "float", "string") else None


def is_called_label(name: str) -> bool:
    """Return whether a column's name says that it holds labels."""
    return "label" in name.lower()


def find_label_column(where: str, features: Features, picture: str, wanted: str | None) -> str:
    """The column ``wanted``, else the only one that looks like a label.

    Raises ``InputError``, naming the option, where the column cannot be determined.
    """
    import datasets

    others = {name: kind for name, kind in features.items() if name != picture}
    usable = [name for name, feature in others.items() if label_kind(feature) is not None]
    if wanted is not None:
        if wanted in usable:
            return wanted
        raise InputError(
            f"data.label_column {wanted!r} is not a label column of {where}; it has "
            f"{', '.join(usable) or 'none'} (columns beside the image: {_with_types(others)})"
        )
    named = [name for name in usable if isinstance(features[name], datasets.ClassLabel)]
    called = [name for name in others if is_called_label(name)]
    if named and called and not set(named) & set(called):
        raise InputError(
            f"{where} has the ClassLabel {', '.join(named)} and a column called "
            f"{', '.join(called)}; say which is the label, such as with "
            f"--data.label_column {called[0]}"
        )
    # A ClassLabel says what it is. Without one, a column of integers or text may be anything, so
    # that one called a label goes before the others; bool and float columns are seldom labels, and
    # __key__ or __index_level_0__ is a writer's own.
    found = named or [name for name in called if name in usable]
    if not called:
        plain = [name for name in usable if not name.startswith("__")]
        found = found or [n for n in plain if label_kind(features[n]) in ("int", "string")] or plain
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{where} has several label columns: {', '.join(found)}; choose one with "
            f"--data.label_column {found[0]}"
        )
    instead = f", or choose another with --data.label_column {usable[0]}" if usable else ""
    raise InputError(
        f"{where} has no label column: the columns beside the image are {_with_types(others)}; "
        f"save a ClassLabel, whole numbers or text, one for each row{instead}"
    )


def _with_types(features: Features) -> str:
    """``label (int64), caption (string)``, for messages."""
    return ", ".join(f"{name} ({_type(kind)})" for name, kind in features.items()) or "none"


def _type(feature: Any) -> str:
    if isinstance(feature, str):  # Arrow's own, which datasets does not know
        return feature
    inner = getattr(feature, "feature", None) or (
        feature[0] if isinstance(feature, list) and feature else None
    )
    if inner is not None:
        return f"list of {_type(inner)}"
    kind = type(feature).__name__
    return str(feature.dtype) if kind == "Value" else {"dict": "struct"}.get(kind, kind)


def origin_of(form: str, image: str, label: str) -> dict[str, str]:
    """Return a set's form, image and label column, as ``Listing.origin`` has them."""
    return {"form": form, "image_column": image, "label_column": label}


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
