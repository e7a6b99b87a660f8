"""Networks by name."""

from __future__ import annotations

import difflib

from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GHOSTNETV3, GHOSTNETV3_SMALL, GhostNetV3

ARCHITECTURES = {"ghostnetv3_small": GHOSTNETV3_SMALL, "ghostnetv3": GHOSTNETV3}
# GN-S 100 would have some 20 billion parameters; beyond it the number is a mistake.
MAX_WIDTH = 100.0


def check_model(name: str, width: float) -> None:
    """Raises ``InputError`` where ``name`` is not known, or ``width`` not above 0 and up to 100."""
    if not isinstance(name, str) or name not in ARCHITECTURES:
        near = difflib.get_close_matches(str(name), ARCHITECTURES, n=1, cutoff=0.0)[0]
        raise InputError(
            f"model {name!r} is not known; did you mean {near!r}? "
            f"Known are {', '.join(ARCHITECTURES)}"
        )
    is_number = isinstance(width, int | float) and not isinstance(width, bool)
    if not (is_number and 0 < width <= MAX_WIDTH):
        raise InputError(
            f"width is {width!r:.40}; it must be a number above 0 and at most {MAX_WIDTH:g}, such "
            "as 1.0 or 2.8"
        )


def create_model(
    name: str, *, width: float = 1.0, num_classes: int = 10, in_channels: int = 3
) -> GhostNetV3:
    """A fresh network in training form: ``(N, in_channels, H, W) -> (N, num_classes)``.

    ``name`` is ``ghostnetv3_small`` or ``ghostnetv3`` (the original with the stem at stride 1,
    GN-D in the paper); ``width`` scales the channels.

    Raises ``InputError`` for an unknown name, a width that is not above 0 and at most 100, or
    fewer than one class or channel.
    """
    check_model(name, width)
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{what} is {value!r}; it must be a whole number of at least 1")
    config = {
        "architecture": name,
        "width": float(width),
        "num_classes": num_classes,
        "in_channels": in_channels,
    }
    return GhostNetV3(
        ARCHITECTURES[name],
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        config=config,
    )
