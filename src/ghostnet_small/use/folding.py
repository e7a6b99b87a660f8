"""Fold trained weights, and compare the result with them before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.data.dataset import normalize
from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free, new_folder
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import ModelInfo, load, save_model
from ghostnet_small.nn.fold import is_folded, reparameterize
from ghostnet_small.use.agreement import CheckFailed, allowance, data_if_there, shown
from ghostnet_small.use.classifier import check_finite
from ghostnet_small.use.training_data import TrainedOn

BOUND = 1e-5


def fold_weights(
    path: Path, out: Path, *, weights: str = "last", say: Callable[[str], None]
) -> dict[str, Any]:
    """Fold the weights of ``path`` into the new folder ``out``, which ``load`` reads.

    Its logits are compared with those of the trained form, computed in float64, on images of
    the data that the weights were trained on, or on random pixels if those data are gone:
    ``relative_error`` is ``max|folded - trained| / max|trained|``. The ``bound`` is 1e-5, or
    more where float32 cannot compute the trained form itself to that.

    Raises ``InputError`` where the weights cannot be read, are folded already or are a teacher's,
    or ``out`` exists; ``CheckFailed`` where the error is past the bound.
    """
    check_free(out, "--out")
    model, info = load(path, weights)
    if not isinstance(model, GhostNetV3):
        raise InputError(
            f"{model.config['architecture']} of {path} has no branches to fold; use its weights "
            "as they are"
        )
    if is_folded(model):
        raise InputError(f"the weights of {path} are folded already; use them as they are")
    pictures = shown(data_if_there(TrainedOn(info, path, say=say).whole, say), info)
    images, source = pictures.images, pictures.source
    folded = reparameterize(model)
    assert isinstance(folded, GhostNetV3)
    with new_folder(out) as partial:
        save_model(folded, info, partial)
        # The written weights are compared, not those in memory.
        written, _ = load(partial)
        found, trained = _logits(written, images, info), _logits(model, images, info)
        exact = _logits(model.double(), images, info)
        check_finite(exact, path)
        error, rounding = _relative(found, exact), _relative(trained, exact)
        bound = allowance(BOUND, rounding)
        if not error <= bound:
            raise CheckFailed(
                f"the folded weights differ from those of {path} by {error:.1e} on {source}, "
                f"more than {bound:.1e}; they are not kept"
            )
    return {
        "out": str(out),
        "weights": weights,
        "relative_error": error,
        "bound": bound,
        "compared_on": source,
        "pictures": len(images),
        "params": {"training": _size(model), "deployed": _size(folded)},
    }


def _logits(model: nn.Module, images: Tensor, info: ModelInfo) -> Tensor:
    pictures = normalize(images, info.mean, info.std)
    with torch.inference_mode():
        logits: Tensor = model(pictures.to(next(model.parameters()).dtype))
    return logits.double()


def _relative(logits: Tensor, exact: Tensor) -> float:
    return float((logits - exact).abs().max() / exact.abs().max())


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
