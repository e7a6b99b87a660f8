"""A directory in Hugging Face layout: parquet files, read in place through ``datasets``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

from ghostnet_small.data.dataset_card import CARD_FILES, read_card
from ghostnet_small.data.formats.columns import (
    Features,
    find_label_column,
    find_picture_column,
    is_called_label,
    origin_of,
    read_features,
)
from ghostnet_small.data.formats.labels import (
    LabelPart,
    join_parts,
    list_labelled,
    no_rows,
    read_part,
)
from ghostnet_small.data.formats.parquet_rows import ParquetPictures, broken_file
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
    """The images below ``root``, still encoded, each named by its parquet file and row.

    The splits are found as ``datasets`` finds them: by a ``README.md`` with ``configs``, else by
    the files' names, among the files that lie below ``root``. Classes are the names of a
    ClassLabel, else the training split's labels in order; a file that numbers the same names
    otherwise is mapped by name. Nothing is written into ``root`` and nothing is fetched.

    Raises ``InputError`` for files that cannot be read or contradict each other, and columns that
    cannot be determined.
    """
    from pyarrow import parquet  # slow to import, and only needed here

    where = str(root)
    with _one_line_errors(root):
        told = read_card(where, _own_files(root, [n for n in CARD_FILES if (root / n).is_file()]))
        there = sorted(
            file.relative_to(root).as_posix() for file in root.rglob("*.parquet") if file.is_file()
        )
        splits = told.splits(there)
        names = known_splits(splits, where)
        files = {
            theirs: list(map(str, _own_files(root, splits[theirs]).values()))
            for theirs in names.values()
        }
        rows = {ours: _row_names(files[theirs]) for ours, theirs in names.items()}
        card: Features = told.features()
        # A file without rows may have columns of any type, pandas' null among them.
        filled = {ours: _filled(names) for ours, names in rows.items()}
        main = main_split(names)
        if not filled[main]:
            raise no_rows(where, main)
        first = next(iter(filled[main]))
        features = read_features(parquet.read_schema(first))
        features |= {name: kind for name, kind in card.items() if name in features}
        image = find_picture_column(where, features)
        label = find_label_column(where, features, image, label_column)
        _check_columns([*chain(*filled.values())], first, (image, label))
        parts = {
            ours: [_part(file, label, count) for file, count in files.items()]
            for ours, files in filled.items()
        }
    listing = list_labelled(
        join_parts(where, label, parts, card.get(label)),
        rows,
        {ours: ParquetPictures(names, image) for ours, names in rows.items()},
        guessed=label_column is None and not is_called_label(label),
    )
    return replace(listing, origin=origin_of("parquet", image, label))


def _own_files(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The files ``names`` below ``root``.

    Raises ``InputError`` for one that is a link out of it.
    """
    root = root.resolve()
    most = root
    for folder in (root, *root.parents):
        # The hub's cache keeps a set's files beside its snapshots, which are links.
        if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("datasets--"):
            most = folder.parent.parent
    found = {name: root / name for name in names}
    for file in found.values():
        if not file.resolve().is_relative_to(most):
            raise InputError(
                f"{file} is a link to {file.resolve()}, outside of the data set; copy that file "
                "into its place"
            )
    return found


@contextmanager
def _one_line_errors(root: Path) -> Iterator[None]:
    """Raise failures of ``datasets`` and ``pyarrow`` in one line, without their own log lines."""
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # both libraries raise many types for a damaged directory
        reason = " ".join(str(error).split()) or type(error).__name__
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


def _filled(names: FileRowNames) -> dict[str, int]:
    """The files of a split that have rows, and how many each."""
    counts = (end - start for start, end in pairwise([0, *names.ends]))
    return {file: count for file, count in zip(names.files, counts, strict=True) if count}


def _part(file: str, label: str, count: int) -> LabelPart:
    """Return a file's labels; raise where it does not hold the ``count`` rows of its header."""
    part = read_part(file, label)
    if len(part.values) != count:
        raise broken_file(
            file, f"it holds {len(part.values):,} rows, but its header says {count:,}"
        )
    return part


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
