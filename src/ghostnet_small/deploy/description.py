"""The description in an exported file, with which the file can be used on its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ghostnet_small.errors import InputError
from ghostnet_small.models.heads import HEAD_FEATURES, head_entry, head_in
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo

# Raised by one whenever the meaning of a file changes.
FORMAT = 1
# The name under which a format keeps the description.
KEY = "ghostnet_small"
# Pixels a side and classes that a file may claim: a hostile one must not fill the memory.
MOST_PIXELS, MOST_CLASSES = 2048**2, 1_000_000

Precision = Literal["float32", "int8"]
Input = Literal["normalized", "pixels"]


@dataclass(frozen=True)
class Description:
    """The network in a file, its input and its answers.

    ``classes`` in the order of the answers; ``size`` (height, width) in pixels; a channel's
    ``mean`` and ``std`` for pixels scaled to 0 .. 1. ``input`` "normalized": float32
    ``(N, C, H, W)`` of normalised pixels goes in and logits come out; "pixels": uint8 goes in and
    probabilities come out. ``data``: the recipe's section of that name, for evaluation, and
    ``fingerprints`` of its splits by name, where they are known.
    """

    architecture: str
    width: float
    classes: tuple[str, ...]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: Precision
    input: Input
    data: Mapping[str, Any]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    head: int = HEAD_FEATURES

    @property
    def channels(self) -> int:
        """The channels of an image."""
        return len(self.mean)

    def as_json(self) -> str:
        """Return the description as one line of ASCII that ``read_description`` reads."""
        values = asdict(self)
        if not self.fingerprints:
            del values["fingerprints"]
        del values["head"]
        return json.dumps({"format": FORMAT, **values, **head_entry(self.head)})


def describe(
    model: Network,
    info: ModelInfo,
    *,
    input: Input = "normalized",
    data: Mapping[str, Any] | None = None,
) -> Description:
    """Return the description of a float32 file of trained weights, by default without data."""
    return Description(
        architecture=model.config["architecture"],
        width=model.config["width"],
        classes=info.classes,
        size=info.size,
        mean=info.mean,
        std=info.std,
        precision="float32",
        input=input,
        data={} if data is None else data,
        fingerprints={} if data is None else info.fingerprints,
        head=head_in(model.config),
    )


def read_description(text: str | None, where: str) -> Description:
    """Return the description that ``as_json`` wrote, from a file called ``where``.

    Raises ``InputError`` where there is none, it is of another version of the program, or it
    contradicts itself.
    """
    if text is None:
        raise InputError(
            f"{where} was not written by ghostnet-small export: it does not describe its "
            "classes and images; export the run again"
        )
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise InputError(
                f"{where} is of format {values['format']!r:.20}, and this program reads {FORMAT}; "
                "export the run again, or use the version that wrote it"
            )
        found = Description(
            architecture=str(values["architecture"]),
            width=float(values["width"]),
            classes=tuple(map(str, values["classes"])),
            size=(int(values["size"][0]), int(values["size"][1])),
            mean=tuple(map(float, values["mean"])),
            std=tuple(map(float, values["std"])),
            precision=values["precision"],
            input=values["input"],
            data=dict(values["data"]),
            fingerprints={k: str(v) for k, v in dict(values.get("fingerprints", {})).items()},
            head=int(head_in(values)),
        )
        _check(found)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{where} has no valid description ({reason:.200}); export the run again"
        ) from None
    return found


def _check(found: Description) -> None:
    if found.precision not in get_args(Precision) or found.input not in get_args(Input):
        raise ValueError(f"precision {found.precision!r:.40} or input {found.input!r:.40}")
    if not 1 <= len(found.classes) <= MOST_CLASSES:
        raise ValueError(f"{len(found.classes)} classes")
    if min(found.size) < 1 or math.prod(found.size) > MOST_PIXELS:
        raise ValueError(f"a size of {found.size}")
    if not found.mean or len(found.mean) != len(found.std):
        raise ValueError("its mean and std contradict each other")
    if not all(map(math.isfinite, found.mean)) or not all(0 < s < math.inf for s in found.std):
        raise ValueError(f"mean {found.mean} or std {found.std}")
