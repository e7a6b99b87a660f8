"""GhostNetV3-Small: very small image classifiers for very small images.

Source: arXiv:2509.12380.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ghostnet_small.errors import InputError
from ghostnet_small.version import __version__

if TYPE_CHECKING:
    from ghostnet_small.models.network import Network
    from ghostnet_small.models.published import load_published_state_dict
    from ghostnet_small.models.registry import create_model
    from ghostnet_small.models.shipped_weights import list_weights
    from ghostnet_small.models.weights import ModelInfo, load, save_model
    from ghostnet_small.nn.fold import reparameterize
    from ghostnet_small.recipe.recipe import Recipe
    from ghostnet_small.train.interfaces import NotFinite
    from ghostnet_small.use.agreement import CheckFailed
    from ghostnet_small.use.classifier import Classifier
    from ghostnet_small.use.image_inputs import Prediction
    from ghostnet_small.verbs.results import CheckedFile, Run, Scores
    from ghostnet_small.verbs.training import distill, fit, study, train
    from ghostnet_small.verbs.using import evaluate, export, fold, load_classifier, predict

__all__ = [
    "CheckFailed",
    "CheckedFile",
    "Classifier",
    "InputError",
    "ModelInfo",
    "Network",
    "NotFinite",
    "Prediction",
    "Recipe",
    "Run",
    "Scores",
    "__version__",
    "create_model",
    "distill",
    "evaluate",
    "export",
    "fit",
    "fold",
    "list_weights",
    "load",
    "load_classifier",
    "load_published_state_dict",
    "predict",
    "reparameterize",
    "save_model",
    "study",
    "train",
]

# The module of each name that is imported at its first use: they need torch, which takes seconds.
_MODULES = {
    "CheckFailed": "use.agreement",
    "CheckedFile": "verbs.results",
    "Classifier": "use.classifier",
    "ModelInfo": "models.weights",
    "Network": "models.network",
    "NotFinite": "train.interfaces",
    "Prediction": "use.image_inputs",
    "Recipe": "recipe.recipe",
    "Run": "verbs.results",
    "Scores": "verbs.results",
    "create_model": "models.registry",
    "evaluate": "verbs.using",
    "export": "verbs.using",
    "fold": "verbs.using",
    "list_weights": "models.shipped_weights",
    "load": "models.weights",
    "load_classifier": "verbs.using",
    "load_published_state_dict": "models.published",
    "predict": "verbs.using",
    "reparameterize": "nn.fold",
    "save_model": "models.weights",
}
# Verbs whose names packages have too, which are called in their place.
_PACKAGES = ("distill", "fit", "study", "train")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
