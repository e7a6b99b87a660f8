"""Named data sets: those of the Hugging Face hub, read through ``datasets``."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostnet_small.data.formats.columns import (
    find_label_column,
    find_picture_column,
    is_called_label,
    origin_of,
)
from ghostnet_small.data.formats.labels import LabelPart, join_parts, list_labelled, read_part
from ghostnet_small.data.hub.dataset_failures import data_set_errors
from ghostnet_small.data.hub.dataset_files import HubPlan, fetch_plan
from ghostnet_small.data.listing import LazyRows, Listing, RowNames, known_splits, main_split
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes


@dataclass(frozen=True)
class Named:
    """Where a short name leads: a repository, and what to choose where it has several."""

    repository: str
    subset: str | None = None
    label_column: str | None = None


SHORT_NAMES = {
    "cifar10": Named("uoft-cs/cifar10"),
    "cifar100": Named("uoft-cs/cifar100", label_column="fine_label"),
    "fashion_mnist": Named("zalando-datasets/fashion_mnist"),
    "mnist": Named("ylecun/mnist"),
    "svhn": Named("ufldl-stanford/svhn", subset="cropped_digits"),
    "tiny-imagenet": Named("zh-plus/tiny-imagenet"),
}


def is_name(source: str) -> bool:
    """Whether ``source`` is a short name or has the form ``owner/name``."""
    return source in SHORT_NAMES or re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) is not None


def list_named(
    name: str,
    *,
    label_column: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    forms: str,
) -> Listing:
    """The pictures of a data set of the hub, still encoded; nothing of them is held in memory.

    ``name`` is one of ``SHORT_NAMES`` or ``owner/name``. The files are fetched into the cache
    where they are not there, and checked. The first time ``datasets`` writes the rows of its
    splits into memory-mapped files. Splits that are not train, validation and test are not
    fetched, and one without labels is left out. ``forms`` tells what a directory may hold, for
    messages where the hub cannot be reached. Cache, mirror, token and offline mode are those of
    ``huggingface_hub``: ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``.

    Raises ``InputError`` where the set cannot be had or is damaged, or columns cannot be told.
    """
    named = SHORT_NAMES.get(name, Named(name))
    where = f"data set {named.repository}"
    subset = subset or named.subset
    with data_set_errors(named.repository, subset, revision, forms):
        plan, paths, remark = fetch_plan(named.repository, subset, revision)
        theirs = known_splits(plan.splits, where)
        rows = _read(plan, paths, theirs)
    features = rows[main_split(rows)].features
    image = find_picture_column(where, features)
    asked = label_column or named.label_column
    label = find_label_column(where, features, image, asked)
    names = {ours: RowNames(f"{named.repository} {ours}", len(rows[ours])) for ours in rows}
    parts = {ours: _label_parts(plan, paths, theirs[ours], rows[ours], label) for ours in rows}
    images = {
        ours: ArrowPictures(
            split,
            image,
            names[ours],
            f"{plan.signature(theirs[ours])} {image}",
            files={str(paths[file]) for file in plan.splits[theirs[ours]]},
        )
        for ours, split in rows.items()
    }
    listing = list_labelled(
        join_parts(where, label, parts, features[label] if plan.features else None),
        names,
        images,
        guessed=asked is None and not is_called_label(label),
    )
    return replace(
        listing,
        remarks=(*([remark] if remark else ()), *listing.remarks),
        origin={
            **origin_of("hub", image, label),
            "repository": plan.repository,
            "commit": plan.commit,
        },
    )


def _label_parts(
    plan: HubPlan, paths: dict[str, Path], theirs: str, rows: Any, label: str
) -> list[LabelPart]:
    """The labels of a split: of parquet from each file, which may number classes in its own way."""
    if plan.module == "parquet":
        parts = [read_part(str(paths[file]), label) for file in plan.splits[theirs]]
        if sum(len(part.values) for part in parts) == len(rows):
            return parts
    return [LabelPart(theirs, rows.features[label], rows.data.column(label).to_pylist())]


def _read(plan: HubPlan, paths: dict[str, Path], names: dict[str, str]) -> dict[str, Any]:
    """The splits as ``datasets.Dataset``; ``names`` gives theirs for each of ours."""
    import datasets
    from datasets.data_files import DataFilesDict, DataFilesList

    data_files = DataFilesDict()
    for split, files in plan.splits.items():
        # The commit stands for the content, so that rows are written once for each.
        commits = [(plan.repository, plan.commit)] * len(files)
        data_files[split] = DataFilesList([str(paths[file]) for file in files], commits)
    builder = datasets.load_dataset_builder(
        plan.module,
        data_files=data_files,
        features=plan.features and datasets.Features.from_dict(plan.features),
        **plan.options,
    )
    builder.download_and_prepare(verification_mode="no_checks")
    try:
        return {ours: builder.as_dataset(split=theirs) for ours, theirs in names.items()}
    except Exception as error:  # pyarrow raises its own types
        reason = " ".join(str(error).split())
        raise InputError(
            f"the rows of data set {plan.repository} in {builder.cache_dir} cannot be read "
            f"({reason}); delete that folder and start again"
        ) from error


class ArrowPictures(LazyRows[bytes]):
    """The encoded pictures of a ``datasets.Dataset``, read from its mapped file one at a time.

    ``signature`` stands for their content. A cell may name one of ``files``, whose content is the
    picture then. Raises ``InputError`` for a row without a picture.
    """

    def __init__(
        self,
        dataset: Any,
        column: str,
        names: Sequence[str],
        signature: str,
        *,
        files: Container[str],
    ) -> None:
        self.names, self.column, self.signature, self.files = names, column, signature, files
        self._cells = dataset.data.column(column)

    def __len__(self) -> int:
        return len(self.names)

    def row(self, number: int) -> bytes:
        cell = self._cells[number].as_py()
        if isinstance(cell, dict):
            content, path = cell.get("bytes"), cell.get("path")
            if not content and path:
                # A folder's pictures stay in their files. Any other path is the set's own word.
                if str(path) not in self.files:
                    raise InputError(
                        f"{self.names[number]}: {self.column} names {str(path)[:200]!r}, which is "
                        "no file of the data set; the data set must hold its pictures"
                    )
                content = read_bytes(Path(str(path)))
            if content and isinstance(content, bytes):  # text would be taken for a file's name
                return content
        raise InputError(
            f"{self.names[number]}: {self.column} holds no picture; the data set lacks it"
        )
