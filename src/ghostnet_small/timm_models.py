"""Both networks in timm's registry: import this module, then call ``timm.create_model``."""

from __future__ import annotations

from typing import Any

from torch import nn

from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.registry import create_ghostnet

try:
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
except ImportError as error:
    raise ImportError(
        f"ghostnet_small.timm_models needs timm ({error}); "
        "install it by: pip install 'ghostnet-small[timm]'"
    ) from error

_WEIGHT_SOURCES = ("url", "file", "state_dict", "hf_hub_id")


def _cfg(pool: int) -> dict[str, Any]:
    """What timm's tools read of a network on CIFAR-10, with the paper's mean and std."""
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "min_input_size": (3, 8, 8),
        "pool_size": (pool, pool),
        "crop_pct": 1.0,
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2471, 0.2435, 0.2616),
        "first_conv": "stem.conv",
        "classifier": "classifier",
        "license": "mit",
        "paper_ids": "arXiv:2509.12380",
    }


# ``register_model`` looks for this name. The tag says, as in timm, that there are no weights.
default_cfgs = generate_default_cfgs(
    {"ghostnetv3_small.untrained": _cfg(8), "ghostnetv3.untrained": _cfg(2)}
)


def _create(
    *,
    name: str,
    num_classes: int = 10,
    in_chans: int = 3,
    width: float = 1.0,
    global_pool: str = "avg",
    drop_rate: float = 0.0,
) -> GhostNetV3:
    """``create_ghostnet`` under timm's words; without classes the head's 1280 features come out."""
    if global_pool != "avg":
        raise InputError(f"global_pool is {global_pool!r}; this network has only 'avg'")
    if drop_rate:
        raise InputError(f"drop_rate is {drop_rate!r}; this network has no dropout, leave it out")
    model = create_ghostnet(name, width=width, num_classes=num_classes or 1, in_channels=in_chans)
    if num_classes == 0:
        model.reset_classifier(0)
    return model


def _build(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    overlay = options.get("pretrained_cfg_overlay") or {}
    given = options.get("pretrained_cfg")
    given = given if isinstance(given, dict) else vars(given) if hasattr(given, "url") else {}
    if pretrained and not any(overlay.get(key) or given.get(key) for key in _WEIGHT_SOURCES):
        raise InputError(
            f"pretrained=True: there are no weights of {name} to fetch yet; take pretrained=False, "
            "or name a file of yours: pretrained_cfg_overlay={'file': 'model.safetensors'}"
        )
    if options.pop("features_only", False):
        raise InputError(
            "features_only=True is not supported; call forward_features of the network for its "
            "last feature map"
        )
    model: nn.Module = build_model_with_cfg(_create, name, pretrained, name=name, **options)
    return model


@register_model
def ghostnetv3_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GhostNetV3-Small; takes ``num_classes``, ``in_chans`` and ``width``.

    Raises ``InputError`` for a value it cannot use, and for ``pretrained=True`` without a file.
    """
    return _build("ghostnetv3_small", pretrained, kwargs)


@register_model
def ghostnetv3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GhostNetV3 with its stem at stride 1; as ``ghostnetv3_small`` otherwise."""
    return _build("ghostnetv3", pretrained, kwargs)
