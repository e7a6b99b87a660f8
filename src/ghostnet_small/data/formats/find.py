"""The forms that a data set on disk may have, and the search for that of a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostnet_small.data.formats.cifar import has_cifar, is_cifar_archive, list_cifar
from ghostnet_small.data.formats.folder import has_class_folders, list_folder
from ghostnet_small.data.formats.idx import has_idx, is_idx, list_idx
from ghostnet_small.data.formats.npz import has_npz, is_npz, list_npz
from ghostnet_small.data.formats.parquet import has_parquet, list_parquet
from ghostnet_small.data.formats.unread import unread_form
from ghostnet_small.data.listing import SPLIT_NAMES, Listing
from ghostnet_small.errors import InputError, os_error_text
from ghostnet_small.files import expanded


@dataclass(frozen=True)
class DataFormat:
    """One form: whether a path has it, how to list it, and what messages call it.

    ``columns``: whether ``list`` takes the label column, of which there may be several.
    """

    layout: str
    found: Callable[[Path], bool]
    list: Callable[..., Listing]
    columns: bool = False


def _has_folders(root: Path) -> bool:
    return any(entry.is_dir() for entry in root.iterdir())


def _has_parquet(root: Path) -> bool:
    # Beside folders of images parquet files hold something else, annotations or embeddings.
    return not has_class_folders(root) and has_parquet(root)


# In the order in which they are looked for: a folder of folders may be any of the others too.
DATA_FORMATS = (
    DataFormat("parquet files in Hugging Face layout", _has_parquet, list_parquet, columns=True),
    DataFormat("IDX files (train-images-idx3-ubyte.gz ...)", has_idx, list_idx),
    DataFormat("CIFAR's own files (data_batch_1 ...)", has_cifar, list_cifar, columns=True),
    DataFormat(".npz files (train_images, train_labels ...)", has_npz, list_npz),
    DataFormat("train/<class>/*.png (val/ and test/ beside it)", _has_folders, list_folder),
)
FILE_FORMATS = (
    DataFormat("an .npz file", is_npz, list_npz),
    DataFormat("the training images' file of an IDX set", is_idx, list_idx),
    DataFormat("CIFAR's .tar.gz", is_cifar_archive, list_cifar, columns=True),
)


def layouts() -> str:
    """Return the forms that a directory may hold, for messages."""
    return ", or ".join(form.layout for form in DATA_FORMATS)


def list_root(given: str, label_column: str | None, key: str, only: str | None = None) -> Listing:
    """The data set at the path ``given``, which the user gave as the setting ``key``.

    Where ``only`` one split is wanted, a folder of class folders is that split.

    Raises ``InputError`` where there is nothing, or nothing of a known form, and whatever the
    form's reader raises.
    """
    named = f"{key} {given!r}"
    try:
        root, form = _find(given, named)
    except OSError as error:
        raise InputError(f"{named} cannot be read ({os_error_text(error)})") from None
    if form.columns:
        return form.list(root, label_column)
    refuse_label_column(label_column, str(root))
    return form.list(root, only) if form.list is list_folder else form.list(root)


def _find(given: str, named: str) -> tuple[Path, DataFormat]:
    """The path, and the form that it has."""
    if "://" in given:
        raise InputError(
            f"{named} is an address; only files of this machine are read: download it first, or "
            "name a data set of the Hugging Face hub with --data.source OWNER/NAME"
        )
    files = " or ".join(form.layout for form in FILE_FORMATS)
    root = expanded(given)
    if not given or not root.exists():
        raise InputError(f"{named} does not exist; give a directory with {layouts()}; or {files}")
    if not root.is_dir():
        for form in FILE_FORMATS:
            if form.found(root):
                return root, form
        raise InputError(
            f"{named} is a file; give the directory that holds {layouts()}; or {files}"
        )
    if not any(root.iterdir()):
        raise InputError(f"{named} is an empty directory; it should hold {layouts()}")
    for form in DATA_FORMATS:
        if form.found(root):
            if form.list is list_folder:
                _refuse_unread(root, named)
                _look_below(root, named)
            return root, form
    _refuse_unread(root, named)
    _look_below(root, named)
    flat = next((entry.name for entry in root.iterdir() if "\\" in entry.name), None)
    if flat is not None:
        raise InputError(
            f"{named} has files such as {flat!r}, whose names hold \\ in place of folders; unpack "
            "the archive again with a program that makes folders of them (7z x)"
        )
    raise InputError(f"{named} holds no data set; give a directory with {layouts()}; or {files}")


def _refuse_unread(root: Path, named: str) -> None:
    """Raise ``InputError`` where ``root`` holds a form that is known and not read."""
    if reason := unread_form(root):
        raise InputError(f"{named} {reason}")


def _look_below(root: Path, named: str) -> None:
    """Raise ``InputError`` where a data set lies not in ``root`` itself but in a folder below."""
    entries = sorted(root.iterdir())
    if any(entry.name in SPLIT_NAMES and entry.is_dir() for entry in entries):
        return
    # torchvision keeps MNIST two folders deeper, in MNIST/raw.
    for level in (entries, sorted(root.glob("*/*"))):
        below = [
            str(entry)
            for entry in level
            if holds_data_set(entry) or any(form.found(entry) for form in FILE_FORMATS)
        ]
        if below:
            break
    if below:
        raise InputError(
            f"{named} holds no data set itself, but one lies in it; give "
            f"{' or '.join(below[:5])}{' ...' if below[5:] else ''}"
        )


def holds_data_set(root: Path) -> bool:
    """Return whether ``root`` is a directory with a data set; mere folders do not count."""
    if not root.is_dir():
        return False
    forms = [form for form in DATA_FORMATS if form.list is not list_folder]
    return (root / "train").is_dir() or any(form.found(root) for form in forms)


def refuse_label_column(label_column: str | None, where: str) -> None:
    """Raise ``InputError`` where a label column is given for a source without columns."""
    if label_column is not None:
        raise InputError(
            f"data.label_column {label_column!r}: {where} has no columns; leave it out"
        )
