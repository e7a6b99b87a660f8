"""Bring a data set to what a network takes: its size, its channels and the order of its classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ghostnet_small.data.classes import list_classes, same_class
from ghostnet_small.data.dataset import Fit, size_text
from ghostnet_small.data.decoded.gather import Cut, Gathered
from ghostnet_small.data.decoded.pixels import Size, SizesDiffer
from ghostnet_small.data.listing import Listing
from ghostnet_small.data.pictures import read_picture
from ghostnet_small.errors import InputError

COLOURS = {1: "grey", 3: "colour"}


def resized(was: str, size: tuple[int, int]) -> str:
    """Return the remark that images of another size are resized."""
    return f"{was} resized to the {size_text(size)} that the model was trained on"


def converted(was: str, channels: int) -> str:
    """Return the remark that images of another number of channels are converted."""
    return f"{was} converted to the {COLOURS[channels]} that the model was trained on"


def places_among(classes: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Return the place of each of ``classes`` among ``known``, by name; None where it has none.

    Names that differ only in how Unicode composes their letters are the same: a Mac writes folders'
    names decomposed.
    """
    numbers = {name: place for place, name in enumerate(known)}
    found = (same_class(name, known) for name in classes)
    return [None if name is None else numbers[name] for name in found]


def same_classes(classes: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """Return the place of each of ``classes`` among ``known``, or None where these are others."""
    places = [place for place in places_among(classes, known) if place is not None]
    return places if len(known) == len(classes) == len(set(places)) else None


def to_classes_of(listing: Listing, fit: Fit, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return the network's number of each class of ``listing``, int64 ``(K,)``, and remarks.

    Raises ``InputError`` where the network does not know a class.
    """
    places = places_among(listing.classes, fit.classes)
    unknown = [name for name, place in zip(listing.classes, places, strict=True) if place is None]
    if unknown:
        raise InputError(
            f"{where} has {list_classes(unknown)} that {fit.name} does not know: its "
            f"{list_classes(fit.classes)}; remove them, rename them as it calls them, or give "
            "other data with --data.root"
        )
    found = [place for place in places if place is not None]
    if len(set(found)) < len(found):
        raise InputError(
            f"{where} has several classes that are one of {fit.name}: "
            f"{list_classes(listing.classes)}; keep one of each"
        )
    remarks = []
    if len(found) < len(fit.classes):
        remarks.append(
            f"the data have {len(found)} of the {len(fit.classes)} classes that the model knows; "
            "answers may be any of these"
        )
    elif found != sorted(found):
        remarks.append(
            "the data have the model's classes in another order; labels are matched by name"
        )
    return torch.tensor(found, dtype=torch.int64), tuple(remarks)


def keeps_its_names(listing: Listing, fit: Fit, given: Sequence[str] | None) -> bool:
    """Return whether other data have the network's class names without the names ``given``.

    The names given are for the classes of the recipe's data, in their order.
    """
    known = None not in places_among(listing.classes, fit.classes)
    return fit.other_data and known and set(listing.classes) != set(given or ())


Gather = Callable[[Size | None, int | None, int], Gathered]


def gather_fitting(
    listing: Listing,
    cuts: Sequence[Cut],
    fit: Fit,
    *,
    size: int | None,
    channels: int | None,
    gather: Gather,
) -> tuple[Gathered, tuple[str, ...]]:
    """Return the result of ``gather(size, channels, at_least)`` in the network's size and channels.

    ``size`` and ``channels`` are the settings. The tuple lists further changes.
    """
    remarks = []
    wanted: Size | None = size
    side = fit.size[0] if fit.size[0] == fit.size[1] else fit.size
    natural = _natural_size(listing, cuts) if size is None else None
    if natural is not None and natural != fit.size:
        wanted = side
        remarks.append(resized(f"the images are {size_text(natural)} pixels; they are", fit.size))
    try:
        found = gather(wanted, channels, fit.channels)
    except SizesDiffer:
        wanted = side
        remarks.append(resized("the images differ in size; they are", fit.size))
        found = gather(wanted, channels, fit.channels)
    split = found.splits[cuts[0].name]
    if split.images.shape[1] != fit.channels:
        remarks.append(converted("the images are in colour; they are", fit.channels))
        found = gather(wanted, fit.channels, fit.channels)
    elif fit.channels > 1 and any(found.grey.values()):
        grey, total = sum(found.grey.values()), sum(map(len, found.splits.values()))
        some = "the images are" if grey == total else f"{grey:,} of {total:,} images are"
        remarks.append(converted(f"{some} in grey; they are", fit.channels))
    return found, tuple(remarks)


def _natural_size(listing: Listing, cuts: Sequence[Cut]) -> tuple[int, int] | None:
    """The (height, width) of the first image that can be read, of the first of ``cuts``."""
    split = listing.splits[cuts[0].listed]
    for row in cuts[0].rows.tolist():
        try:
            shape = read_picture(split.picture(row)).shape
        except InputError:
            continue
        return int(shape[1]), int(shape[2])
    return None
