"""The label column of a set in many files, which may number classes differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostnet_small.data.formats.columns import class_numbers, label_kind, read_features
from ghostnet_small.data.listing import ListedSplit, Listing, main_split, used_classes
from ghostnet_small.errors import InputError

_WORDS = {"train": "training"}  # splits, as messages call them


@dataclass(frozen=True)
class LabelPart:
    """The labels of one file: its name, the column's type there, and the values as written."""

    file: str
    feature: Any
    values: Sequence[Any]

    @property
    def names(self) -> list[str] | None:
        """The class names that the file gives to its numbers; None where it gives none."""
        return getattr(self.feature, "names", None) or None


@dataclass(frozen=True)
class LabelColumn:
    """The labels of every split: class names, or numbers or text where no names are given.

    ``names`` are those given for numbers, None where there are none.
    """

    where: str
    name: str
    names: tuple[str, ...] | None
    values: dict[str, list[Any]]


def read_part(file: str, column: str) -> LabelPart:
    """The label column of a parquet file."""
    from pyarrow import parquet

    table = parquet.read_table(file, columns=[column], use_threads=False, partitioning=None)
    feature = read_features(parquet.read_schema(file))[column]
    return LabelPart(file, feature, table.column(0).to_pylist())


def join_parts(
    where: str, column: str, parts: Mapping[str, Sequence[LabelPart]], card: Any
) -> LabelColumn:
    """The labels of the splits in ``parts``, mapped by name where files number classes differently.

    ``card`` is the column's type in the data set's card, None where that says nothing. Its class
    names go before those of the files, if these agree with each other.

    Raises ``InputError`` for files whose class names or types contradict each other, and for
    numbers that are not whole.
    """
    filled = [part for split in parts.values() for part in split if len(part.values)]
    own = [part for part in filled if part.names is not None]
    names = getattr(card, "names", None) or (own[0].names if own else None)
    for given in [names or [], *(part.names or [] for part in own)]:
        if any(isinstance(name, list | dict) for name in given):
            raise InputError(
                f"{where}: column {column} has class names that are not text; write them as text"
            )
    renamed = bool(own) and all(part.names == own[0].names for part in own)
    meaning: dict[str, list[str] | None] = {}  # of the numbers in each file
    for part in filled:
        meaning[part.file] = part.names or names
        if names is None or part.names is None or sorted(part.names) == sorted(names):
            continue
        if not renamed or len(part.names) != len(names):
            raise InputError(
                f"{where}: the classes of {part.file} are {_shown(part.names)}, but "
                f"{'those of the card' if own[0] is part else f'those of {own[0].file}'} are "
                f"{_shown(names)}; save all files with the same class names"
            )
        meaning[part.file] = names
    values = {
        split: [
            value
            for part in of_split
            if len(part.values)
            for value in _named(_plain(part, column), meaning[part.file])
        ]
        for split, of_split in parts.items()
    }
    if names is None:
        _check_kinds(where, column, filled)
    return LabelColumn(where, column, None if names is None else tuple(names), values)


def list_labelled(
    labels: LabelColumn,
    rows: Mapping[str, Sequence[str]],
    images: Mapping[str, Sequence[bytes]],
    *,
    guessed: bool,
) -> Listing:
    """The splits of ``images`` with ``labels``; those without a label are left out with a remark.

    ``rows`` are the rows' names. Classes are the given names that are used, else the training
    split's labels in order. ``guessed``: the user did not choose the column, and neither its type
    nor its name says that it holds labels.

    Raises ``InputError`` for a training split without rows, and for a guessed column that has
    another value in each row.
    """
    main = main_split(labels.values)
    train = labels.values[main]
    if not train:
        raise no_rows(labels.where, main)
    if guessed and labels.names is None and len(set(train)) == len(train) > 2:
        raise InputError(
            f"{labels.where}: column {labels.name} has a different value in each of the "
            f"{len(train):,} {_WORDS.get(main, main)} rows, so it is not taken for the label; add "
            f"a label column, or insist with --data.label_column {labels.name}"
        )
    keys: list[Any] = (
        sorted({value for value in train if value is not None})
        if labels.names is None
        else list(labels.names)
    )
    splits: dict[str, ListedSplit] = {}
    remarks: list[str] = []
    for split, values in labels.values.items():
        known = set(values)
        if split != main and not known - ({None, -1} - set(keys)):
            lacks = "labels" if values else "rows"
            remarks.append(f"the {split} split of {labels.where} has no {lacks} and is left out")
            continue
        numbers, broken = class_numbers(values, keys, rows[split], labels.name)
        splits[split] = ListedSplit(images[split], rows[split], numbers, broken)
    listing = Listing(splits, tuple(map(str, keys)), remarks=tuple(remarks))
    return used_classes(listing, labels.where)


def no_rows(where: str, split: str) -> InputError:
    """Return the error where the split that names the classes has no rows."""
    return InputError(f"the {_WORDS.get(split, split)} split of {where} has no rows; add its files")


def _plain(part: LabelPart, column: str) -> Sequence[Any]:
    """The values as whole numbers or text, None where a row has no label."""
    kind = label_kind(part.feature)
    if kind == "bool":
        return [None if value is None else int(value) for value in part.values]
    if kind != "float":
        return part.values
    # pandas writes a column of integers with gaps as floats, and a gap as NaN.
    numbers = [None if value is None or value != value else value for value in part.values]
    for row, value in enumerate(numbers):
        if value is not None and not float(value).is_integer():
            raise InputError(
                f"{part.file} row {row}: {column} {value} is not a whole number, so the column "
                "cannot be the label; choose another with --data.label_column, or save whole "
                "numbers or text"
            )
    return [None if value is None else int(value) for value in numbers]


def _named(values: Sequence[Any], names: Sequence[str] | None) -> Sequence[Any]:
    """The names of numbered classes; a number without a name stays."""
    if names is None:
        return values
    count = len(names)
    return [
        names[value] if isinstance(value, int) and 0 <= value < count else value for value in values
    ]


def _check_kinds(where: str, column: str, parts: Sequence[LabelPart]) -> None:
    kinds: dict[str, str] = {}
    for part in parts:
        kind = "text" if label_kind(part.feature) == "string" else "numbers"
        if any(value is not None for value in part.values):
            kinds.setdefault(kind, part.file)
    if len(kinds) > 1:
        said = " and ".join(f"{kind} in {file}" for kind, file in kinds.items())
        raise InputError(f"{where}: column {column} holds {said}; save all files with one of them")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
