"""Both networks in timm's registry: import this module, then call ``timm.create_model``.

Weights that come with the program are tags: ``ghostnetv3_small.w1.0_cifar10``, with
``pretrained=True``, is ``ghostnetv3_small_w1.0_cifar10``, read from the package's own files.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text
from ghostnet_small.hub.models import CONFIG, WEIGHTS
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES, POOLED, GhostNetV3
from ghostnet_small.models.heads import HEAD_FEATURES, head_in
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.models.timm_layout import pretrained_cfg
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.nn.ghost import GhostBottleneck

try:
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
except ImportError as error:
    raise ImportError(
        f"ghostnet_small.timm_models needs timm ({error}); "
        "install it by: pip install 'ghostnet-small[timm]'"
    ) from error

_WEIGHT_SOURCES = ("url", "file", "state_dict", "hf_hub_id")
# The paper's values for CIFAR-10.
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)

# Options of timm that this network does not have, and what to do instead.
_OFF_AT_ZERO = ("drop_block_rate",)
_UNKNOWN = (
    "this network has no such setting: it takes num_classes, in_chans, global_pool, drop_rate, "
    "drop_path_rate, width, head and deployed; leave it out"
)
_WITHOUT = {
    "drop_block_rate": "this network has no DropBlock, leave it out",
    "img_size": "this network takes images of any size, leave it out",
    "bn_eps": "batch norms keep PyTorch's eps, leave it out or set eps of the modules",
    "bn_momentum": "batch norms keep PyTorch's momentum, leave it out or set that of the modules",
    "output_stride": "this network has one stride, leave it out",
    "width_mult": "this network calls it width",
}
# The width, head and form of the shipped weights, by "architecture.tag".
_ARGUMENTS: dict[str, dict[str, Any]] = {}


class UnknownArgument(InputError, TypeError):
    """An argument that the network does not have: a ``TypeError``, as timm's own networks raise."""


def _untrained(name: str) -> dict[str, Any]:
    return pretrained_cfg(
        ARCHITECTURES[name],
        num_classes=10,
        input_size=(3, 32, 32),
        mean=_MEAN,
        std=_STD,
        license="mit",
    )


def _shipped() -> dict[str, dict[str, Any]]:
    """Return the values that timm reads for each of the shipped weights, by "architecture.tag"."""
    found = {}
    for name, folder in shipped_weights().items():
        config = json.loads(read_text(folder / CONFIG))
        architecture, deployed = config["architecture"], config["form"] == "deployed"
        tagged = f"{architecture}.{name.removeprefix(f'{architecture}_')}"
        if architecture not in ARCHITECTURES:
            continue
        _ARGUMENTS[tagged] = {
            "width": config["width"],
            "head": head_in(config),
            "deployed": deployed,
        }
        found[tagged] = {
            **pretrained_cfg(
                ARCHITECTURES[architecture],
                num_classes=config["num_classes"],
                input_size=(config["in_channels"], *config["size"]),
                mean=config["mean"],
                std=config["std"],
                deployed=deployed,
                license="mit",
            ),
            "label_names": tuple(config["classes"]),
            "file": str(folder / WEIGHTS),
        }
    return found


# ``register_model`` looks for this name. The first tag with weights is the one that a bare name
# means; "untrained" says, as in timm, that there are none.
default_cfgs = generate_default_cfgs(
    {**_shipped(), **{f"{name}.untrained": _untrained(name) for name in ARCHITECTURES}}
)


def _create(
    *,
    name: str,
    num_classes: int = 10,
    in_chans: int = 3,
    width: float = 1.0,
    head: int = HEAD_FEATURES,
    deployed: bool = False,
    global_pool: str = POOLED,
    drop_rate: float | None = 0.0,
    drop_path_rate: float | None = 0.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **others: Any,
) -> GhostNetV3:
    """Call ``create_ghostnet`` with timm's option names.

    Without classes the network returns the head's features, with an empty ``global_pool`` as
    a map. ``drop_rate`` is the dropout before the classifier, ``drop_path_rate`` that of the last
    block, from 0 at the first. ``deployed`` makes the folded form, which cannot be trained.
    """
    for word, value in others.items():
        # timm's own programs give 0 for what is not wanted.
        if value or word not in _OFF_AT_ZERO:
            raise UnknownArgument(f"{word} is {value!r}; {_WITHOUT.get(word, _UNKNOWN)}")
    rates = {"drop_rate": drop_rate or 0.0, "drop_path_rate": drop_path_rate or 0.0}
    for word, rate in rates.items():
        if not 0 <= rate < 1:
            raise InputError(f"{word} is {rate!r}; give 0 up to below 1")
    with torch.device(device) if device is not None else nullcontext():
        model = create_ghostnet(
            name, width=width, head=head, num_classes=num_classes or 1, in_channels=in_chans
        )
    if dtype is not None:
        model = model.to(dtype)
    model.drop_rate = rates["drop_rate"]
    last = len(model.blocks) - 1
    for number, block in enumerate(model.blocks):
        assert isinstance(block, GhostBottleneck)
        block.drop_path = rates["drop_path_rate"] * number / last
    if deployed:
        # The copy has the class of the original.
        model = reparameterize(model.eval())  # type: ignore[assignment]
    if num_classes == 0 or global_pool != POOLED:
        try:
            model.reset_classifier(num_classes, global_pool)
        except ValueError as error:
            raise InputError(str(error)) from None
    return model


def _build(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    if pretrained:
        options = {**options, **_checked(name, options)}
    sizes = 1 + sum(block.stride > 1 for block in ARCHITECTURES[name].blocks)
    model: nn.Module = build_model_with_cfg(
        _create,
        name,
        pretrained,
        feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(sizes))},
        name=name,
        **options,
    )
    return model


def _checked(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the width, head and form of a tag's weights; empty for weights from elsewhere.

    Raises ``InputError`` where there are none, or they are of another width or head.
    """
    overlay = options.get("pretrained_cfg_overlay") or {}
    given = options.get("pretrained_cfg")
    told = given if isinstance(given, dict) else vars(given) if hasattr(given, "url") else {}
    if any(overlay.get(key) or told.get(key) for key in _WEIGHT_SOURCES):
        return {}
    tag = given if isinstance(given, str) else default_cfgs[name].tags[0]
    arguments = _ARGUMENTS.get(f"{name}.{tag}")
    if arguments is None:
        tags = [tagged for tagged in _ARGUMENTS if tagged.startswith(f"{name}.")]
        cure = f"name existing weights ({', '.join(tags)})" if tags else "take another network"
        raise InputError(
            f"pretrained=True: there are no weights {name}.{tag}; {cure}, take pretrained=False, "
            "or name a file of yours: pretrained_cfg_overlay={'file': 'model.safetensors'}"
        )
    for key, value in arguments.items():
        if options.get(key, value) != value:
            raise InputError(
                f"{key} is {options[key]!r}; the weights {name}.{tag} have {value!r}: leave it "
                "out, or take pretrained=False"
            )
    return arguments


@register_model
def ghostnetv3_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GhostNetV3-Small; takes ``num_classes``, ``in_chans``, ``width``, ``head``, ``deployed``.

    Raises ``InputError`` for a value it cannot use, and for ``pretrained=True`` where there are no
    weights of that tag and no file.
    """
    return _build("ghostnetv3_small", pretrained, kwargs)


@register_model
def ghostnetv3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """GhostNetV3 with its stem at stride 1; as ``ghostnetv3_small`` otherwise."""
    return _build("ghostnetv3", pretrained, kwargs)
