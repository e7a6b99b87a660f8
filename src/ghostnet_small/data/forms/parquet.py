"""A directory in Hugging Face layout: parquet files, read in place through ``datasets``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ghostnet_small.data.forms.columns import (
    Features,
    find_label_column,
    find_picture_column,
    is_called_label,
    origin_of,
    read_features,
)
from ghostnet_small.data.forms.labels import join_parts, list_labelled, no_rows, read_part
from ghostnet_small.data.forms.parquet_rows import ParquetPictures, broken_file
from ghostnet_small.data.listing import FileRowNames, Listing, known_splits, main_split
from ghostnet_small.errors import InputError


def has_parquet(root: Path) -> bool:
    """Return whether a parquet file lies anywhere below ``root``, hidden folders apart.

    Beside the class folders of a ``train`` without any, it holds something else: embeddings, say.
    """
    train = root / "train"
    if any(train.glob("*/")) and next(train.rglob("*.parquet"), None) is None:
        return False
    return any(
        not any(part.startswith((".", "__")) for part in file.relative_to(root).parts)
        for file in root.rglob("*.parquet")
    )


def list_parquet(root: Path, label_column: str | None) -> Listing:
    """The pictures below ``root``, still encoded, each named by its parquet file and row.

    The splits are found as ``datasets`` finds them: by a ``README.md`` with ``configs``, else by
    the files' names. Classes are the names of a ClassLabel, else the training split's labels in
    order; a file that numbers the same names otherwise is mapped by name. Nothing is written into
    ``root`` and nothing is fetched.

    Raises ``InputError`` for files that cannot be read or contradict each other, and columns that
    cannot be told.
    """
    import datasets  # slow to import, and only needed here
    from pyarrow import parquet

    where = str(root)
    with tempfile.TemporaryDirectory() as cache, _one_line_errors(root):
        builder = datasets.load_dataset_builder(str(root.resolve()), cache_dir=cache)
        files = {str(split): list(paths) for split, paths in builder.config.data_files.items()}
        names = known_splits(files, where)
        rows = {ours: _row_names(files[theirs]) for ours, theirs in names.items()}
        card: Features = builder.info.features or {}
        # A file without rows may have columns of any type, pandas' null among them.
        filled = {ours: _filled(names) for ours, names in rows.items()}
        main = main_split(names)
        if not filled[main]:
            raise no_rows(where, main)
        first = filled[main][0]
        features = read_features(parquet.read_schema(first))
        features |= {name: kind for name, kind in card.items() if name in features}
        image = find_picture_column(where, features)
        label = find_label_column(where, features, image, label_column)
        _check_columns([*chain(*filled.values())], first, (image, label))
        parts = {ours: [read_part(file, label) for file in files] for ours, files in filled.items()}
    listing = list_labelled(
        join_parts(where, label, parts, card.get(label)),
        rows,
        {ours: ParquetPictures(names, image) for ours, names in rows.items()},
        guessed=label_column is None and not is_called_label(label),
    )
    return replace(listing, origin=origin_of("parquet", image, label))


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


def _filled(names: FileRowNames) -> list[str]:
    """The files of a split that have rows."""
    ends = [0, *names.ends]
    return [file for number, file in enumerate(names.files) if ends[number + 1] > ends[number]]


def _check_columns(files: list[str], first: str, wanted: tuple[str, str]) -> None:
    from pyarrow import parquet

    for file in files:
        have = parquet.read_schema(file).names
        lacking = [column for column in wanted if column not in have]
        if lacking:
            raise InputError(
                f"{file} has no column {lacking[0]}, which {first} has; its columns are "
                f"{', '.join(have)}: save all files with the same ones"
            )
