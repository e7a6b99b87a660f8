"""A check of a set's decoded images, by their histogram, for values that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ghostnet_small.data.listing import ListedSplit
from ghostnet_small.data.pictures import is_deep
from ghostnet_small.errors import InputError

FLAT_STD = 2 / 255  # two grey steps
DEPTHS = (8, 10, 12, 14)  # bits of sensors whose values are stored in 16


def remark_on_pixels(
    histogram: Sequence[Sequence[int]], std: Sequence[float], listed: ListedSplit, row: int
) -> str | None:
    """Return a remark where images are almost one colour, or use a small part of 16 bits, or None.

    ``histogram`` counts each channel's values 0 .. 255; ``std`` are the channels' standard
    deviations for pixels scaled to 0 .. 1; ``row`` is one of the images in ``listed``. Nothing
    is decoded for it, so that images from the cache get the same remark.
    """
    top = max(value for counts in histogram for value, times in enumerate(counts) if times)
    bits = next((bits for bits in DEPTHS if top <= round((2**bits - 1) / 257)), None)
    if bits is not None and _is_deep(listed, row):
        or_save = ", or save them with 8 bits" if bits == 8 else ""
        return (
            f"the training images have 16 bits but use {bits} of them or fewer: as they are read, "
            f"no value is above {top} of 255, so that all look dark; multiply the values in the "
            f"files by {2 ** (16 - bits)}{or_save}"
        )
    flat = [channel for channel, value in enumerate(std) if value <= FLAT_STD]
    if not flat:
        return None
    which = "" if len(flat) == len(std) else f" in channel {', '.join(str(k + 1) for k in flat)}"
    return (
        f"the pixels of all training images have almost one value{which} (standard deviation "
        f"{max(std[channel] for channel in flat):.4f}), from which nothing can be learned; look at "
        "them as they are read with ghostnet-small data --save FOLDER (transparent pixels are laid "
        "over white)"
    )


def _is_deep(listed: ListedSplit, row: int) -> bool:
    with suppress(InputError):
        return is_deep(listed.picture(row))
    return False
