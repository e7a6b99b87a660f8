"""GhostNetV3-Small: very small image classifiers for very small images.

Source: arXiv:2509.12380.
"""

from ghostnet_small.errors import InputError
from ghostnet_small.models.network import Network
from ghostnet_small.models.published import load_published_state_dict
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.shipped import list_weights
from ghostnet_small.models.weights import ModelInfo, load, save_model
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.version import __version__

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
