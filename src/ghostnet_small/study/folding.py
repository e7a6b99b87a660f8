"""Trained weights become deployed ones, checked against each other before they are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.data.dataset import normalize
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import ModelInfo, load, save_model
from ghostnet_small.nn.fold import Reparameterizable, reparameterize
from ghostnet_small.study.evaluation import check_data, check_finite, recipe_of

BOUND = 1e-5
PICTURES = 500


class CheckFailed(Exception):
    """What was made is not what it must be; nothing of it is kept."""


def fold_weights(
    path: Path, out: Path, *, weights: str = "last", say: Callable[[str], None]
) -> dict[str, Any]:
    """Fold the weights of ``path`` into the new folder ``out``, which ``load`` reads.

    The logits of both forms are compared on pictures of the data that the weights were trained
    on, or on random pixels where those data are gone: ``relative_error`` is
    ``max|folded - trained| / max|trained|``.

    Raises ``InputError`` where the weights cannot be read or are folded already, or ``out``
    exists; ``CheckFailed`` where the error is past 1e-5.
    """
    check_free(out, "--out")
    model, info = load(path, weights)
    if not any(isinstance(module, Reparameterizable) for module in model.modules()):
        raise InputError(f"the weights of {path} are folded already; use them as they are")
    images, source = _pictures(info, path, say)
    folded = reparameterize(model)
    assert isinstance(folded, GhostNetV3)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        save_model(folded, info, partial)
        # What was written is compared, not what is in memory.
        written, _ = load(partial)
        with torch.inference_mode():
            expected, found = _logits(model, images, info), _logits(written, images, info)
        check_finite(expected, path)
        error = float((found - expected).abs().max() / expected.abs().max())
        if not error <= BOUND:
            raise CheckFailed(
                f"the folded weights differ from those of {path} by {error:.1e} on {source}, "
                f"more than {BOUND:.0e}; they are not kept"
            )
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {
        "out": str(out),
        "weights": weights,
        "relative_error": error,
        "bound": BOUND,
        "compared_on": source,
        "pictures": len(images),
        "params": {"training": _size(model), "deployed": _size(folded)},
    }


def _pictures(info: ModelInfo, path: Path, say: Callable[[str], None]) -> tuple[Tensor, str]:
    """Pictures to compare on, uint8 ``(N, C, H, W)``, and what they are."""
    try:
        data = load_data(recipe_of(info, path).data)
        check_data(data, info, path)
    except InputError as error:
        say(f"random pixels are compared in place of the training's data: {error}")
        seeded = torch.Generator().manual_seed(0)
        shape = (PICTURES, len(info.mean), *info.size)
        pixels = torch.randint(256, shape, generator=seeded, dtype=torch.uint8)
        return pixels, "random pixels"
    name = next(n for n in ("test", "validation", "train") if getattr(data, n) is not None)
    return data.split(name).images[:PICTURES], f"the {name} split"


def _logits(model: nn.Module, images: Tensor, info: ModelInfo) -> Tensor:
    logits: Tensor = model(normalize(images, info.mean, info.std))
    return logits.double()


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
