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

__all__ = [
    "InputError",
    "ModelInfo",
    "Network",
    "__version__",
    "create_model",
    "list_weights",
    "load",
    "load_published_state_dict",
    "reparameterize",
    "save_model",
]

# The module of each name that is imported at its first use: they need torch, which takes seconds.
_MODULES = {
    "ModelInfo": "models.weights",
    "Network": "models.network",
    "create_model": "models.registry",
    "list_weights": "models.shipped_weights",
    "load": "models.weights",
    "load_published_state_dict": "models.published",
    "reparameterize": "nn.fold",
    "save_model": "models.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
