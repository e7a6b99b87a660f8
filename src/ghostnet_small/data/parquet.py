"""A directory in Hugging Face layout: parquet files, read in place through ``datasets``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.listing import ListedSplit, Listing, known_splits
from ghostnet_small.errors import InputError

Features = dict[str, Any]  # column name -> datasets' feature


def has_parquet(root: Path) -> bool:
    """Whether a parquet file lies anywhere below ``root``, hidden folders apart."""
    return any(
        not any(part.startswith((".", "__")) for part in file.relative_to(root).parts)
        for file in root.rglob("*.parquet")
    )


def list_parquet(root: Path, label_column: str | None) -> Listing:
    """The pictures below ``root``, still encoded, each named by its parquet file and row.

    The splits are found as ``datasets`` finds them: by a ``README.md`` with ``configs``, else by
    the files' names. Classes are the names of a ClassLabel, else the training split's labels in
    order. Nothing is written into ``root`` and nothing is fetched.

    Raises ``InputError`` for files that cannot be read, columns that cannot be told and labels
    outside the classes.
    """
    import datasets  # slow to import, and only needed here

    with tempfile.TemporaryDirectory() as cache, _one_line_errors(root):
        builder = datasets.load_dataset_builder(str(root.resolve()), cache_dir=cache)
        files = {str(split): list(paths) for split, paths in builder.config.data_files.items()}
        names = known_splits(files, str(root))
        rows = {theirs: _row_names(root, files[theirs]) for theirs in names.values()}
        streams = builder.as_streaming_dataset()
        features: Features = streams[names["train"]].features
        picture = _picture_column(root, features)
        label = _label_column(root, features, picture, label_column)
        columns = {theirs: _read(streams[theirs], picture, label) for theirs in names.values()}
    keys, classes = _classes(features[label], columns[names["train"]][1])
    splits: dict[str, ListedSplit] = {}
    for ours, theirs in names.items():
        values, raw_labels = columns[theirs]
        splits[ours] = ListedSplit(
            pictures=_contents(values, rows[theirs], picture),
            names=rows[theirs],
            labels=_labels(raw_labels, keys, rows[theirs], label),
        )
    return Listing(splits, classes)


@contextmanager
def _one_line_errors(root: Path) -> Iterator[None]:
    """Failures of ``datasets`` and ``pyarrow`` as one line, without their own log lines."""
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # both libraries raise many types for a damaged directory
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("Config name is missing"):
            raise InputError(
                f"{root} holds several data sets ({reason}); give the folder of one of them"
            ) from error
        if any(sign in str(root.resolve()) for sign in "*?[]"):
            reason += "; a folder name with one of * ? [ ] cannot be read"
        raise InputError(
            f"{root} cannot be read as a Hugging Face data set ({reason}); check its files, or "
            "give a directory with train/<class>/*.png"
        ) from error
    finally:
        logger.setLevel(level)


def _row_names(root: Path, files: list[str]) -> list[str]:
    """``FILE row R`` for each row of a split; also finds a damaged file before any is read."""
    from pyarrow import parquet

    names: list[str] = []
    for file in files:
        try:
            count = parquet.read_metadata(file).num_rows
        except Exception as error:  # pyarrow raises its own types and OSError
            reason = " ".join(str(error).split())
            raise InputError(
                f"{file} is not a readable parquet file ({reason}); download it again"
            ) from error
        names += [f"{file} row {row}" for row in range(count)]
    return names


def _read(stream: Any, picture: str, label: str) -> tuple[list[Any], list[Any]]:
    """The two columns of a split as Python values."""
    pictures: list[Any] = []
    labels: list[Any] = []
    for table in stream.select_columns([picture, label]).with_format("arrow").iter(batch_size=1000):
        pictures += table.column(picture).to_pylist()
        labels += table.column(label).to_pylist()
    return pictures, labels


def _picture_column(root: Path, features: Features) -> str:
    """The column of feature type Image, or of structs {bytes, path}."""
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
            f"{root} has several picture columns: {', '.join(found)}; keep one of them"
        )
    raise InputError(
        f"{root} has no picture column among {', '.join(features)}; one must be of the Hugging "
        "Face type Image, or a struct of bytes and path"
    )


def _label_column(root: Path, features: Features, picture: str, wanted: str | None) -> str:
    """The column ``wanted``, else the only one that looks like a label."""
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
            f"data.label_column {wanted!r} is not a label column of {root}; it has {have}"
        )
    # A ClassLabel says what it is; without one, a column of integers or strings may be anything,
    # so one that is called a label goes before the others.
    found = named or [name for name in plain if "label" in name.lower()] or plain
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{root} has several label columns: {', '.join(found)}; choose one with "
            f"--data.label_column {found[0]}"
        )
    others = ", ".join(name for name in features if name != picture) or "none"
    raise InputError(
        f"{root} has no label column of integers or strings; its columns beside the picture are: "
        f"{others}"
    )


def _classes(feature: Any, train_labels: list[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """The value that each class has in the label column, and its name."""
    names = getattr(feature, "names", None)
    if names:
        return list(range(len(names))), tuple(names)
    keys = sorted({value for value in train_labels if value is not None})
    return keys, tuple(str(key) for key in keys)


def _labels(values: list[Any], keys: list[Any], rows: list[str], column: str) -> torch.Tensor:
    """Class numbers, int64 ``(N,)``."""
    number = {key: k for k, key in enumerate(keys)}
    labels = []
    for value, row in zip(values, rows, strict=True):
        if value not in number:
            shown = ", ".join(map(str, keys[:10])) + (", ..." if len(keys) > 10 else "")
            raise InputError(
                f"{row}: {column} {value!r} is not one of the training split's {len(keys)} labels "
                f"({shown}); correct or remove the row"
            )
        labels.append(number[value])
    return torch.tensor(labels, dtype=torch.int64)


def _contents(values: list[Any], rows: list[str], column: str) -> list[bytes]:
    contents = []
    for value, row in zip(values, rows, strict=True):
        content = value["bytes"] if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise InputError(
                f"{row}: {column} holds no picture bytes; save the data set with its pictures "
                "embedded"
            )
        contents.append(content)
    return contents
