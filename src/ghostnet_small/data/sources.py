"""Load a whole data set from its settings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ghostnet_small.data.classes import look_alikes
from ghostnet_small.data.dataset import (
    Fit,
    ImageData,
    Split,
    check_split_name,
    left_out_text,
    no_split,
)
from ghostnet_small.data.decoded.gather import Cut, Gathered, gather
from ghostnet_small.data.decoded.statistics import mean_std
from ghostnet_small.data.fitting import (
    Gather,
    gather_fitting,
    keeps_its_names,
    to_classes_of,
)
from ghostnet_small.data.formats.digits import list_digits
from ghostnet_small.data.formats.find import holds_data_set, layouts, list_root, refuse_label_column
from ghostnet_small.data.hub.named import SHORT_NAMES, is_name, list_named
from ghostnet_small.data.listing import Listing, no_training_split
from ghostnet_small.data.plausible import remark_on_pixels
from ghostnet_small.data.settings import DataSettings
from ghostnet_small.data.split import hold_out, hold_out_fold, limited_rows
from ghostnet_small.errors import InputError, nearest
from ghostnet_small.files import expanded

logger = logging.getLogger(__name__)  # what a user should know, though nothing is wrong


def load_data(settings: DataSettings, fit: Fit | None = None) -> ImageData:
    """Read, decode and cut a data set; with ``fit``, brought to what a network takes.

    Images are decoded once, into the cache. ``mean`` and ``std`` are of the
    training split after the hold-out, computed from exact integer sums; a channel that has one
    value everywhere gets the std 1/255, one grey step.

    Raises ``InputError`` for settings that do not fit the source and for images that cannot
    be read.
    """
    listing, where = _read(settings, known=fit)
    cuts = _cuts(listing, settings)
    found, splits, changed = _fitted(listing, cuts, settings, fit, where)
    train = splits["train"]
    if found.skipped and fit is None:
        _check_classes(train.labels, listing.classes, where)
    histogram = found.facts("train").histogram
    mean, std = mean_std(histogram)
    remark = remark_on_pixels(histogram, std, listing.splits["train"], int(train.index[0]))
    if remark is not None:
        logger.warning(remark)
    return ImageData(
        train=train,
        validation=splits.get("validation"),
        test=splits.get("test"),
        classes=listing.classes if fit is None else fit.classes,
        mean=_override("mean", settings.mean, mean),
        std=_override("std", settings.std, std),
        fingerprint=_fingerprint(listing.classes, found, found.splits),
        skipped=(*_broken(listing, cuts), *found.skipped),
        origin=listing.origin,
        cache=found.cache,
        fingerprints={cut.name: _fingerprint(listing.classes, found, [cut.name]) for cut in cuts},
        changed=changed,
    )


@dataclass(frozen=True)
class OneSplit:
    """One split of a data set; ``fingerprint`` changes with its pixels, labels, rows or classes.

    ``held_out``: its images are a part of the training split. ``changed`` as ``ImageData`` has it.
    """

    name: str
    split: Split
    classes: tuple[str, ...]
    fingerprint: str
    skipped: tuple[str, ...]
    held_out: bool = False
    changed: tuple[str, ...] = ()

    @property
    def left_out(self) -> str | None:
        """``left_out_text`` of the split."""
        return left_out_text(self.skipped, len(self.split))

    @property
    def channels(self) -> int:
        return self.split.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        return self.split.images.shape[2], self.split.images.shape[3]


def load_split(settings: DataSettings, name: str, fit: Fit) -> OneSplit:
    """The split ``name`` as ``load_data`` cuts it, without decoding the others.

    Its images and labels are brought to what a network takes, as ``fit`` says. The other splits
    may be missing, and a folder with only class folders is the split.

    Raises ``InputError`` as ``load_data`` does, where there is no such split, and where the network
    does not know a class.
    """
    check_split_name(name)
    listing, where = _read(settings, only=name, known=fit)
    cuts = _cuts(listing, settings)
    chosen = [cut for cut in cuts if cut.name == name]
    if not chosen:
        raise no_split(name, [cut.name for cut in cuts])
    found, splits, changed = _fitted(listing, chosen, settings, fit, where)
    return OneSplit(
        name=name,
        split=splits[name],
        classes=fit.classes,
        fingerprint=_fingerprint(listing.classes, found, [name]),
        skipped=(*_broken(listing, chosen), *found.skipped),
        held_out=chosen[0].listed != name,
        changed=changed,
    )


def _fitted(
    listing: Listing, cuts: list[Cut], settings: DataSettings, fit: Fit | None, where: str
) -> tuple[Gathered, dict[str, Split], tuple[str, ...]]:
    """Return the images of ``cuts``, the same with a network's labels, and remarks on changes."""
    if fit is None:
        found = _gatherer(listing, cuts, settings)(settings.size, settings.channels, 1)
        return found, found.splits, ()
    numbers, matched = to_classes_of(listing, fit, where)
    found, changed = gather_fitting(
        listing,
        cuts,
        fit,
        size=settings.size,
        channels=settings.channels,
        gather=_gatherer(listing, cuts, settings),
    )
    splits = {
        name: replace(split, labels=numbers[split.labels]) for name, split in found.splits.items()
    }
    return found, splits, (*matched, *changed)


def _read(
    settings: DataSettings, only: str | None = None, known: Fit | None = None
) -> tuple[Listing, str]:
    """The source's checked listing, and its name for messages.

    Where ``only`` one split is wanted, the others may be missing.
    """
    settings.check()
    listing, where = _list(settings, only)
    for remark in listing.remarks:
        logger.warning(remark)
    for name, split in listing.splits.items():
        for message in split.broken.values():
            if settings.on_error == "stop":
                raise InputError(message)
            if len(split.broken) == len(split.labels):
                raise InputError(
                    f"no row of the {name} split has a label that can be used: {message}"
                )
            break
    if known is None or not keeps_its_names(listing, known, settings.class_names):
        listing = _renamed(listing, settings.class_names, where)
    if (same := look_alikes(listing.classes)) is not None:
        logger.warning(same)
    if "train" in listing.splits:
        _check_classes(listing.splits["train"].labels, listing.classes, where)
    elif only is None:
        raise no_training_split(where, listing.splits)
    return listing, where


def _cuts(listing: Listing, settings: DataSettings) -> list[Cut]:
    """Return the splits as rows of the source's; only labels are used, nothing is decoded."""
    rows = {name: (split.labels >= 0).nonzero().flatten() for name, split in listing.splits.items()}
    if "train" not in rows:
        return [Cut(name, name, rows[name]) for name in rows]
    labels = listing.splits["train"].labels
    if settings.limit is not None:
        chosen = limited_rows(labels[rows["train"]], settings.limit, seed=settings.split_seed)
        rows["train"] = rows["train"][chosen]
    held = None
    if "validation" not in listing.splits and settings.validation > 0:
        labelled, seed = labels[rows["train"]], settings.split_seed
        if settings.fold is None:
            kept, out = hold_out(labelled, settings.validation, seed=seed)
        else:
            parts = round(1 / settings.validation)
            kept, out = hold_out_fold(labelled, parts, settings.fold, seed=seed)
        held, rows["train"] = rows["train"][out], rows["train"][kept]
    cuts = [Cut(name, name, rows[name]) for name in listing.splits]
    return cuts if held is None else [*cuts, Cut("validation", "train", held)]


def _gatherer(listing: Listing, cuts: list[Cut], settings: DataSettings) -> Gather:
    return lambda size, channels, at_least: gather(
        listing.splits,
        cuts,
        channels=channels,
        at_least=at_least if channels is None else 1,
        size=size,
        on_error=settings.on_error,
        cache=settings.cache,
        memory_gib=settings.memory_gib,
        say=logger.warning,
    )


def _broken(listing: Listing, cuts: list[Cut]) -> list[str]:
    """Return the messages for the rows that have no label and so are in no cut."""
    names = dict.fromkeys(cut.listed for cut in cuts)
    return [message for name in names for message in listing.splits[name].broken.values()]


def _list(settings: DataSettings, only: str | None) -> tuple[Listing, str]:
    """The source's listing, and its name for messages."""
    if settings.root is not None:
        return list_root(settings.root, settings.label_column, "data.root", only), settings.root
    source, root = settings.source, expanded(settings.source)
    if is_name(source):
        if not holds_data_set(root):
            return _list_named(settings), source
        logger.warning(f"data.source {source!r}: read from the directory of that name, not the hub")
    for key, value in (("subset", settings.subset), ("revision", settings.revision)):
        if value is not None:
            raise InputError(f"data.{key} {value!r}: {source} has none; leave it out")
    if source == "digits":
        refuse_label_column(settings.label_column, "the digits")
        return list_digits(), "the digits"
    if not source or not root.exists():
        near = nearest(source.lower(), [*SHORT_NAMES, "digits"], only_close=True)
        raise InputError(
            f"data.source {source!r} does not exist; {near and near + '; '}give digits, "
            f"{', '.join(SHORT_NAMES)}, OWNER/NAME, or --data.root DIR with {layouts()}"
        )
    return list_root(source, settings.label_column, "data.source", only), source


def _list_named(settings: DataSettings) -> Listing:
    return list_named(
        settings.source,
        label_column=settings.label_column,
        subset=settings.subset,
        revision=settings.revision,
        forms=layouts(),
    )


def _renamed(listing: Listing, names: tuple[str, ...] | None, where: str) -> Listing:
    if names is None:
        return listing
    if len(names) != len(listing.classes) or len(set(names)) != len(names):
        raise InputError(
            f"data.class_names gives {len(set(names))} different names, but {where} has "
            f"{len(listing.classes)} classes; give one for each"
        )
    return replace(listing, classes=tuple(names))


def _check_classes(labels: Tensor, classes: tuple[str, ...], where: str) -> None:
    counts = torch.bincount(labels[labels >= 0], minlength=len(classes)).tolist()
    present = [name for name, count in zip(classes, counts, strict=True) if count]
    if len(present) < 2:
        raise InputError(
            f"{where} has {len(present)} class with training images "
            f"({', '.join(present) or 'none'}); at least two are needed"
        )
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent:
        raise InputError(
            f"{where}: class {absent[0]!r} has no training image; add some or remove the class"
        )


def _override(
    name: str, wanted: tuple[float, ...] | None, computed: tuple[float, ...]
) -> tuple[float, ...]:
    if wanted is None:
        return computed
    if len(wanted) != len(computed):
        raise InputError(
            f"data.{name} {list(wanted)} has {len(wanted)} values, but the images have "
            f"{len(computed)} channels; give {len(computed)}"
        )
    return tuple(wanted)


def _fingerprint(classes: tuple[str, ...], found: Gathered, names: Iterable[str]) -> str:
    sha = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(names):
        sha.update(f"\n{name} {found.facts(name).digest} ".encode())
        sha.update(found.splits[name].index.numpy().astype("<i8").tobytes())
    return sha.hexdigest()
