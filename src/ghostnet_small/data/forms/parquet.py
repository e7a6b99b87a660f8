"""A directory in Hugging Face layout: parquet files, read in place through ``datasets``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ghostnet_small.data.forms.columns import (
    Features,
    class_numbers,
    find_label_column,
    find_picture_column,
    label_classes,
)
from ghostnet_small.data.forms.parquet_rows import ParquetPictures, broken_file
from ghostnet_small.data.listing import (
    FileRowNames,
    ListedSplit,
    Listing,
    known_splits,
    main_split,
)
from ghostnet_small.errors import InputError


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

    Raises ``InputError`` for files that cannot be read and columns that cannot be told.
    """
    import datasets  # slow to import, and only needed here

    with tempfile.TemporaryDirectory() as cache, _one_line_errors(root):
        builder = datasets.load_dataset_builder(str(root.resolve()), cache_dir=cache)
        files = {str(split): list(paths) for split, paths in builder.config.data_files.items()}
        names = known_splits(files, str(root))
        main = names[main_split(names)]
        rows = {theirs: _row_names(files[theirs]) for theirs in names.values()}
        features: Features = builder.as_streaming_dataset()[main].features
        picture = find_picture_column(str(root), features)
        label = find_label_column(str(root), features, picture, label_column)
        for theirs in names.values():
            _check_columns(files[theirs], (picture, label))
        # A reader of its own, which passes over the pictures.
        labels = datasets.load_dataset_builder(
            str(root.resolve()), cache_dir=cache, columns=[label]
        ).as_streaming_dataset()
        values = {theirs: _read(labels[theirs], label) for theirs in names.values()}
    keys, classes = label_classes(features[label], values[main])
    splits: dict[str, ListedSplit] = {}
    for ours, theirs in names.items():
        numbers, broken = class_numbers(values[theirs], keys, rows[theirs], label)
        pictures = ParquetPictures(rows[theirs], picture)
        splits[ours] = ListedSplit(pictures, rows[theirs], numbers, broken)
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


def _row_names(files: list[str]) -> FileRowNames:
    """The rows of a split; also finds a damaged file before any is read."""
    from pyarrow import parquet

    counts = []
    for file in files:
        try:
            counts.append(parquet.read_metadata(file).num_rows)
        except Exception as error:  # pyarrow raises its own types and OSError
            raise broken_file(file, " ".join(str(error).split())) from error
    return FileRowNames(files, counts)


def _check_columns(files: list[str], wanted: tuple[str, str]) -> None:
    from pyarrow import parquet

    for file in files:
        have = parquet.read_schema(file).names
        if not set(wanted) <= set(have):
            raise ValueError(
                f"column names don't match: {file} has {', '.join(have)}, not {', '.join(wanted)}"
            )


def _read(stream: Any, label: str) -> list[Any]:
    """The label column of a split as Python values."""
    values: list[Any] = []
    for table in stream.with_format("arrow").iter(batch_size=10_000):
        values += table.column(label).to_pylist()
    return values
