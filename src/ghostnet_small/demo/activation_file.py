"""``activation.onnx``, and files without private folders; imports onnx."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from ghostnet_small.demo.activation import Maps
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.onnx_file import INPUT, content, onnx_model, options
from ghostnet_small.deploy.session import Array
from ghostnet_small.files import write_atomic
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.recipe.shareable import portable_recipe
from ghostnet_small.use.agreement import CheckFailed, allowance, shown
from ghostnet_small.use.classifier import feed

# The allowed error of an image's maps, relative to its largest value.
BOUND = 1e-4
# Where a ReLU's input is nearly 0, rounding decides whether it is active, and an image's maps
# change: so many of the images must be right.
SHARE = 0.9
PICTURES = 40


def write_activation(
    maps: Maps, description: Description, info: ModelInfo, path: Path
) -> dict[str, float]:
    """Write ``maps`` as ONNX; return its ``relative_error`` to float64 on random pixels.

    Raises ``CheckFailed`` if the error is too large.
    """
    maps = maps.requires_grad_(False)
    found = content(onnx_model(maps, description), description)
    pictures = feed(shown(None, info).images[:PICTURES], description)
    exact = _answers(copy.deepcopy(maps).double(), pictures.astype(np.float64))
    bound = allowance(BOUND, _error(_answers(maps, pictures), exact))
    session = onnxruntime.InferenceSession(
        found, options(torch.get_num_threads()), providers=["CPUExecutionProvider"]
    )
    # One image at a time, as the page asks.
    answers = [session.run(None, {INPUT: picture[None]})[0] for picture in pictures]
    error = _error(np.concatenate(answers), exact)
    if not error <= bound:
        raise CheckFailed(
            f"the activation maps differ from the network's by {error:.1e}, more than {bound:.1e}"
        )
    write_atomic(path, found)
    return {"relative_error": error}


def without_places(file: Path) -> bytes:
    """Return the content of an exported file, without the folders that its description names for
    the training data."""
    model = onnx.load(file)
    kept = [entry for entry in model.metadata_props if entry.key == KEY]
    described = read_description(kept[0].value if kept else None, str(file))
    del model.metadata_props[:]
    data = portable_recipe({"data": dict(described.data)})["data"]
    return content(model, replace(described, data=data))


def _answers(maps: Maps, pictures: Array) -> Array:
    with torch.inference_mode():
        found: Array = maps(torch.from_numpy(pictures)).numpy()
    return found


def _error(found: Array, exact: Array) -> float:
    """Return the error that ``SHARE`` of the images keep below; NaN if an answer is NaN."""
    if found.shape != exact.shape or not np.isfinite(found).all():
        return float("nan")
    axes = (1, 2, 3)
    errors = np.abs(found - exact).max(axes) / np.abs(exact).max(axes)
    return float(np.quantile(errors, SHARE))
