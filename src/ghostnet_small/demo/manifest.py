"""``model.json``: the page's description of the network and of the conversion of images."""

from __future__ import annotations

from typing import Any

import PIL
import torch

from ghostnet_small.demo import runtime
from ghostnet_small.demo.chosen import ACTIVATION, FLOAT32, INT8
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.models.registry import create_from
from ghostnet_small.nn.complexity import both_forms, by_quantity

PILLOW = int(PIL.__version__.split(".")[0])
# The steps of ``data.pictures.read_picture``, for the page to do the same.
RESIZE: dict[str, Any] = {
    "steps": ["exif orientation", "16 to 8 bits", "over white", "grey or RGB", "resize"],
    "sixteen_bits": {"grey": "value / 257, rounded", "colour": "the upper 8 bits"},
    # Integers: (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16.
    "grey": {"weights": [19595, 38470, 7471], "shift": 16, "rounded": True},
    "filter": "bilinear",
    "antialias": True,
    "reducing_gap": None,
    "keeps_ratio": False,
    # Two passes, each to whole values of 8 bits, with weights of so many bits. The vertical one
    # comes second, but, from Pillow 13 on, first where the height H, which becomes h, and the width
    # W, which becomes w, are such that H - h > max(0, 2 * (W - w)).
    "precision_bits": 22,
    "vertical_first": "H - h > max(0, 2 * (W - w))" if PILLOW >= 13 else None,
}


def manifest(
    bundle: Bundle, pictures: list[dict[str, str]], *, drawn: bool = False
) -> dict[str, Any]:
    """Return the values of ``model.json``; ``pictures`` as the page finds them: ``url``, ``name``.

    ``drawn``: they are drawings of the demo's own, named after their content.
    """
    described = bundle.description
    return {
        "name": bundle.name,
        "architecture": described.architecture,
        "width": described.width,
        "classes": list(described.classes),
        "size": list(described.size),
        "channels": described.channels,
        "mean": list(described.mean),
        "std": list(described.std),
        **_costs(bundle),
        "files": {"float32": _file(bundle, FLOAT32), "int8": _file(bundle, INT8)},
        "activation": (
            {**_url(ACTIVATION), "method": bundle.method} if ACTIVATION in bundle.files else None
        ),
        "resize": RESIZE,
        "trained_on": bundle.trained_on,
        "test_top1": None if bundle.test_top1 is None else dict(bundle.test_top1),
        "pictures": pictures,
        "drawn": drawn,
        "runtime": {"name": runtime.NAME, "version": runtime.VERSION},
    }


def _url(name: str) -> dict[str, str]:
    return {"url": name}


def _file(bundle: Bundle, name: str) -> dict[str, Any] | None:
    content = bundle.files.get(name)
    return None if content is None else {**_url(name), "bytes": len(content)}


def _costs(bundle: Bundle) -> dict[str, Any]:
    """Return ``params`` and ``macs`` in both forms; None if the network cannot be built again."""
    config = bundle.config
    if config is None:
        return {"params": None, "macs": None}
    model = create_from(config)
    described = bundle.description
    # Counting uses only shapes.
    with torch.no_grad():
        forms = both_forms(model, (described.channels, *described.size))
    return by_quantity({form: stages["total"] for form, stages in forms.items()})
