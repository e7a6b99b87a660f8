"""Networks by name."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, get_args

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES, GhostNetV3
from ghostnet_small.models.heads import HEAD_FEATURES, HEADS, head_entry, head_in
from ghostnet_small.models.network import Network
from ghostnet_small.models.settings import Interpolation, ModelSettings
from ghostnet_small.models.teachers import PREFIX, TEACHERS, is_timm, teacher_of
from ghostnet_small.models.timm_network import create_timm

NAMES = (*ARCHITECTURES, *TEACHERS)
# GN-S 100 would have some 20 billion parameters; a larger number is a mistake.
MAX_WIDTH = 100.0
# A smaller size is of no use to a network; a larger one is a mistake or hostile.
UPSAMPLES = (8, 1024)


def is_known(name: object) -> bool:
    """Return whether ``name`` is that of a network, as far as is known without timm."""
    return isinstance(name, str) and (name in NAMES or is_timm(name))


def check_model(
    name: str,
    width: float,
    *,
    head: int = HEAD_FEATURES,
    pretrained: bool | str = False,
    upsample: int | None = None,
    interpolation: str = "bilinear",
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> None:
    """Raise ``InputError`` where ``create_model`` would.

    It raises for an unknown name, for an argument that the network does not support, and where a
    teacher needs timm and timm is missing.
    """
    if not is_known(name):
        raise InputError(
            f"model {name!r:.80} is not known; {nearest(name, NAMES)}, of "
            f"{', '.join(NAMES)}, and {PREFIX}NAME for any classifier of timm"
        )
    if not (_is_a(Real, width) and 0 < width <= MAX_WIDTH):
        raise InputError(
            f"width is {width!r:.40}; it must be a number above 0 and at most {MAX_WIDTH:g}, such "
            "as 1.0 or 2.8"
        )
    if is_timm(name):
        _check_teacher(name, width, head, upsample, interpolation)
        return
    smallest, largest = HEADS
    if not (_is_a(Integral, head) and smallest <= head <= largest):
        raise InputError(
            f"head is {head!r:.40}; it must be a whole number from {smallest} to {largest}, such "
            f"as 256, or {HEAD_FEATURES}, the paper's"
        )
    if pretrained:
        raise InputError(
            f"pretrained is {pretrained!r:.80}; it is for networks of timm: leave it false, and "
            f"start {name} from trained weights with model.weights"
        )
    if upsample is not None:
        raise InputError(
            f"upsample is {upsample!r:.40}; {name} takes images at their own size: leave it out, "
            "or resize them with data.size"
        )
    for word, value, unused in (
        ("interpolation", interpolation, "bilinear"),
        ("dropout", dropout, 0),
        ("drop_path", drop_path, 0),
    ):
        if value != unused:
            raise InputError(
                f"{word} is {value!r:.40}; it is for networks of timm, and {name} is none: leave "
                f"it at {unused}"
            )


def check_settings(asked: ModelSettings) -> None:
    """Apply ``check_model`` to a recipe's network, and check that it has one source of weights."""
    if asked.weights is not None and asked.pretrained:
        raise InputError(
            f"model.weights {asked.weights} and model.pretrained exclude each other; leave one of "
            "them out"
        )
    check_model(
        asked.name,
        asked.width,
        head=asked.head,
        pretrained=asked.pretrained,
        upsample=asked.upsample,
        interpolation=asked.interpolation,
        dropout=asked.dropout,
        drop_path=asked.drop_path,
    )


def _check_teacher(
    name: str, width: float, head: int, upsample: int | None, interpolation: str
) -> None:
    if width != 1:
        raise InputError(f"width is {width!r}; {name} comes in one width: leave it at 1.0")
    if head != HEAD_FEATURES:
        raise InputError(
            f"head is {head!r:.40}; it is for {' and '.join(ARCHITECTURES)}, and {name} has its "
            f"own: leave it at {HEAD_FEATURES}"
        )
    smallest, largest = UPSAMPLES
    if upsample is not None and not (_is_a(Integral, upsample) and smallest <= upsample <= largest):
        raise InputError(
            f"upsample is {upsample!r:.40}; it must be {smallest} to {largest} pixels, such as "
            "224, or null"
        )
    if interpolation not in get_args(Interpolation):
        raise InputError(
            f"interpolation is {interpolation!r:.40}; it must be one of "
            f"{', '.join(get_args(Interpolation))}"
        )
    teacher_of(name)


def create_model(
    name: str,
    *,
    width: float = 1.0,
    head: int = HEAD_FEATURES,
    num_classes: int = 10,
    in_channels: int = 3,
    pretrained: bool | str = False,
    upsample: int | None = None,
    interpolation: Interpolation = "bilinear",
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> Network:
    """Return a fresh network in training form: ``(N, in_channels, H, W) -> (N, num_classes)``.

    ``name`` is ``ghostnetv3_small``, ``ghostnetv3`` (the original with the stem at stride 1,
    GN-D in the paper), whose channels ``width`` scales and whose classifier reads ``head``
    features, or a network of timm: a teacher, such as ``resnet18``, or ``timm/NAME[.TAG]``.
    Networks of timm may start from ``pretrained`` weights, timm's or those in a file, and resize
    images to ``upsample`` pixels a side; with ``None``, images keep their size where a stem for
    tiny images is known. ``ModelSettings`` describes the other arguments.

    Raises ``InputError`` for an unknown name, a width that is not above 0 and at most 100, a head
    outside 8 to 4096, fewer than one class or channel, an unsupported argument, or weights that are
    not available.
    """
    check_model(
        name,
        width,
        head=head,
        pretrained=pretrained,
        upsample=upsample,
        interpolation=interpolation,
        dropout=dropout,
        drop_path=drop_path,
    )
    num_classes, in_channels = _whole(num_classes, in_channels)
    if is_timm(name):
        return create_timm(
            name,
            num_classes=num_classes,
            in_channels=in_channels,
            pretrained=pretrained,
            upsample=None if upsample is None else int(upsample),
            interpolation=interpolation,
            dropout=dropout,
            drop_path=drop_path,
        )
    return create_ghostnet(
        name, width=width, head=head, num_classes=num_classes, in_channels=in_channels
    )


def create_from(config: Mapping[str, Any]) -> Network:
    """Return a fresh network from a ``Network.config``; raises as ``create_model`` does."""
    return create_model(
        config["architecture"],
        width=config["width"],
        head=head_in(config),
        num_classes=config["num_classes"],
        in_channels=config["in_channels"],
        upsample=config.get("upsample"),
        interpolation=config.get("interpolation") or "bilinear",
    )


def create_ghostnet(
    name: str,
    *,
    width: float = 1.0,
    head: int = HEAD_FEATURES,
    num_classes: int = 10,
    in_channels: int = 3,
) -> GhostNetV3:
    """Return ``create_model`` for one of ``ARCHITECTURES``."""
    check_model(name, width, head=head)
    width, head = float(width), int(head)
    num_classes, in_channels = _whole(num_classes, in_channels)
    config = {
        "architecture": name,
        "width": width,
        "num_classes": num_classes,
        "in_channels": in_channels,
        **head_entry(head),
    }
    return GhostNetV3(
        ARCHITECTURES[name],
        width=width,
        head=head,
        num_classes=num_classes,
        in_channels=in_channels,
        config=config,
    )


def _is_a(kind: type, value: object) -> bool:
    """Return whether ``value`` is a number of ``kind``, of Python or of NumPy."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _whole(num_classes: int, in_channels: int) -> tuple[int, int]:
    """Return both as integers; raises ``InputError`` where one is not a whole number from 1."""
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if not _is_a(Integral, value) or value < 1:
            raise InputError(f"{what} is {value!r}; it must be a whole number of at least 1")
    return operator.index(num_classes), operator.index(in_channels)
