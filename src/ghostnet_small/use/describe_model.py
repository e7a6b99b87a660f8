"""Count the parameters and multiply-accumulates of a network, in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.decoded.pixels import MIN_SIZE
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.registry import create_from, is_known
from ghostnet_small.models.shipped_weights import find_weights
from ghostnet_small.models.weights import load
from ghostnet_small.nn.complexity import both_forms, by_quantity


def describe_model(
    name: str,
    *,
    width: float | None = None,
    head: int | None = None,
    upsample: int | None = None,
    classes: int | None = None,
    channels: int | None = None,
    size: int | None = None,
    per_stage: bool = False,
) -> dict[str, Any]:
    """Return ``params`` and ``macs`` of a network by name, or of trained weights by folder, by name
    or of the hub; of trained weights also ``class_names``, in the order of the logits.

    By default a named network has width 1, the paper's head, 10 classes and takes 3 x 32 x 32
    images; a teacher may bring them to ``upsample`` pixels a side. MACs are for one image.

    Raises ``InputError`` where ``name`` is neither a network nor a folder of weights, an
    option contradicts a folder's weights, or the images are too small for the network.
    """
    if not is_known(name) and (folder := find_weights(Path(name))).exists():
        asked = {
            "model.width": width,
            "model.head": head,
            "model.upsample": upsample,
            "classes": classes,
            "channels": channels,
            "size": size,
        }
        for option, value in asked.items():
            if value is not None:
                raise InputError(
                    f"--{option} {value} has no effect on {name}, whose weights have their own; "
                    "leave it out, or name a network"
                )
        trained, info = load(folder)
        config, (height, wide) = dict(trained.config), info.size
        names = {"class_names": list(info.classes)}
    else:
        if size is not None and size < MIN_SIZE:
            raise InputError(f"--size {size} is not allowed; give {MIN_SIZE} or more pixels")
        names = {}
        height = wide = 32 if size is None else size
        config = {
            "architecture": name,
            "width": 1.0 if width is None else width,
            **({} if head is None else {"head": head}),
            "num_classes": 10 if classes is None else classes,
            "in_channels": 3 if channels is None else channels,
            "upsample": upsample,
        }
    model = create_from(config)
    model.check_size(height, wide)
    picture = (config["in_channels"], height, wide)
    # Counting uses only shapes, so the weights stay as they were initialised.
    with torch.no_grad():
        forms = both_forms(model, picture)
    report: dict[str, Any] = {
        "architecture": config["architecture"],
        "width": float(config["width"]),
        "classes": config["num_classes"],
        **names,
        "picture": list(picture),
        **by_quantity({form: stages["total"] for form, stages in forms.items()}),
    }
    if isinstance(model, GhostNetV3):
        report["head"] = model.head_hidden_size
    if model.config.get("upsample") is not None:
        report["upsample"] = model.config["upsample"]
    if per_stage:
        report["stages"] = {
            stage: by_quantity({form: stages[stage] for form, stages in forms.items()})
            for stage in forms["training"]
            if stage != "total"
        }
    return report
