"""The forms that a data set on disk may have, and which one a path has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostnet_small.data.folder import list_folder
from ghostnet_small.data.idx import has_idx, list_idx
from ghostnet_small.data.listing import Listing
from ghostnet_small.data.parquet import has_parquet, list_parquet
from ghostnet_small.errors import InputError


@dataclass(frozen=True)
class Form:
    """One form: whether a directory has it, how to list it, and what messages call it."""

    layout: str
    found: Callable[[Path], bool]
    list: Callable[[Path], Listing]


def _has_folders(root: Path) -> bool:
    return any(entry.is_dir() for entry in root.iterdir())


# In the order in which they are looked for: a folder of folders may be any of the others too.
FORMS = (
    Form("IDX files (train-images-idx3-ubyte.gz ...)", has_idx, list_idx),
    Form("train/<class>/*.png (val/ and test/ beside it)", _has_folders, list_folder),
)
PARQUET = "parquet files in Hugging Face layout"


def layouts() -> str:
    """What a directory may hold, for messages."""
    return ", or ".join([PARQUET, *(form.layout for form in FORMS)])


def list_root(root: Path, label_column: str | None, key: str) -> Listing:
    """The data set at ``root``, which the user gave as the setting ``key``.

    Raises ``InputError`` where there is nothing, or nothing of a known form, and whatever the
    form's reader raises.
    """
    named = f"{key} {str(root)!r}"
    if not root.exists():
        raise InputError(f"{named} does not exist; give a directory with {layouts()}")
    if not root.is_dir():
        raise InputError(f"{named} is a file; give the directory that holds {layouts()}")
    if not any(root.iterdir()):
        raise InputError(f"{named} is an empty directory; it should hold {layouts()}")
    if has_parquet(root):
        return list_parquet(root, label_column)
    for form in FORMS:
        if form.found(root):
            refuse_label_column(label_column, str(root))
            return form.list(root)
    raise InputError(f"{named} holds no data set; give a directory with {layouts()}")


def refuse_label_column(label_column: str | None, where: str) -> None:
    """Raises ``InputError`` where a label column is asked of what has no columns."""
    if label_column is not None:
        raise InputError(
            f"data.label_column {label_column!r}: {where} has no columns; leave it out"
        )
