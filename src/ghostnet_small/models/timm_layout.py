"""timm's layout of ``config.json``: written beside this program's keys, and read without them.

timm reads ``architecture``, ``num_classes``, ``num_features``, ``label_names``, ``model_args``
(arguments to build the network) and ``pretrained_cfg`` (facts that its tools need).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES, Architecture, GhostNetV3
from ghostnet_small.models.heads import head_entry, head_in
from ghostnet_small.models.network import Network
from ghostnet_small.models.registry import NAMES
from ghostnet_small.models.settings import Interpolation
from ghostnet_small.models.teachers import PREFIX, TEACHERS, teacher_of
from ghostnet_small.models.timm_network import TimmNetwork

SMALLEST = 8  # pixels of an image's side that a GhostNet takes
# A larger number would fill the memory.
MOST_CLASSES, MOST_CHANNELS = 1_000_000, 1000
# ``model_args`` of timm that are known here; a GhostNet has only one pool.
_GHOSTNETS = {"width", "head", "deployed"}
_ARGUMENTS = _GHOSTNETS | {"num_classes", "in_chans", "global_pool"}
_TIMM_NAMES = {teacher.base_name: name for name, teacher in TEACHERS.items()}
_OUR_NAME = "model_name"


class UnknownNetwork(InputError):
    """A network that this program does not have."""


def pretrained_cfg(
    architecture: Architecture,
    *,
    num_classes: int,
    input_size: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
    deployed: bool = False,
    license: str | None = None,
) -> dict[str, Any]:
    """Return timm's configuration of a GhostNet for images of ``input_size`` ``(C, H, W)``."""
    channels, height, width = input_size
    for block in architecture.blocks:
        height, width = -(-height // block.stride), -(-width // block.stride)
    return {
        **_pictures(num_classes, input_size, mean, std, license),
        "min_input_size": (channels, SMALLEST, SMALLEST),
        "pool_size": (height, width),
        # Folded, a convolution and its batch norm are one layer.
        "first_conv": "stem" if deployed else "stem.conv",
        "classifier": "classifier",
        "paper_ids": "arXiv:2509.12380",
    }


def timm_keys(
    model: Network,
    *,
    deployed: bool,
    classes: Sequence[str],
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    license: str | None = None,
) -> dict[str, Any]:
    """Return the keys that timm reads of ``model``, beside those of ``model.config``."""
    config = model.config
    input_size = (config["in_channels"], *size)
    about: dict[str, Any]
    if isinstance(model, GhostNetV3):
        arguments = {
            "width": config["width"],
            **head_entry(head_in(config)),
            **({"deployed": True} if deployed else {}),
        }
        about = {
            "num_features": model.num_features,
            "global_pool": "avg",
            "model_args": arguments,
            "pretrained_cfg": pretrained_cfg(
                model.architecture,
                num_classes=config["num_classes"],
                input_size=input_size,
                mean=mean,
                std=std,
                deployed=deployed,
                license=license,
            ),
        }
    else:
        upsample = config["upsample"]
        shown = input_size if upsample is None else (config["in_channels"], upsample, upsample)
        about = {"pretrained_cfg": _pictures(config["num_classes"], shown, mean, std, license)}
        if upsample is not None:
            about["architecture"] = teacher_of(config["architecture"]).base_name
            about[_OUR_NAME] = config["architecture"]
            assert isinstance(model, TimmNetwork)
            about["pretrained_cfg"]["interpolation"] = model.interpolation
            known: Any = model.network.pretrained_cfg
            parts = (
                "first_conv",
                "classifier",
            )  # parts that timm replaces for other channels and classes
            about["pretrained_cfg"] |= {part: known[part] for part in parts}
    return {**about, "label_names": tuple(classes)}


def saved_state(model: Network) -> dict[str, Tensor]:
    """Return the tensors of ``model`` as they are written.

    Those of a teacher with its published stem have timm's names, so that timm loads them;
    ``add_prefix`` is the inverse.
    """
    if isinstance(model, TimmNetwork) and model.upsample is not None:
        return model.network.state_dict()
    return model.state_dict()


def our_name(config: Mapping[str, Any]) -> Any:
    """Return this program's name of the network in ``config``, which may have timm's."""
    architecture = config["architecture"]
    return config.get(_OUR_NAME) or _TIMM_NAMES.get(architecture, architecture)


def from_timm(config: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return this program's keys for ``config``, which has only timm's.

    A network of ``ARCHITECTURES`` is read as ``timm_models`` builds it. Any other network of timm
    has its published stem, so here it resizes images, to the size that timm uses. Classes without
    names get their numbers.

    Raises ``UnknownNetwork`` where the network, or an argument to build it, is unknown here;
    ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError`` where the keys
    are not those of timm.
    """
    # Old files have all keys in one level.
    told = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    name = config["architecture"]
    ours = name in ARCHITECTURES
    known = name if ours else _TIMM_NAMES.get(name, f"{PREFIX}{name}")
    try:
        if not ours:
            teacher_of(known)
    except InputError as error:
        raise UnknownNetwork(
            f"{what} describes {name!r:.80}, which is none of this program's networks "
            f"({', '.join(NAMES)}), nor of timm: {error}"
        ) from None
    unknown = sorted(set(arguments) - (_ARGUMENTS if ours else _ARGUMENTS - _GHOSTNETS))
    if unknown or arguments.get("global_pool", "avg") != "avg":
        raise UnknownNetwork(
            f"{what} builds {name} with {', '.join(unknown) or 'another global_pool'}, which this "
            "program does not know; load it with timm.create_model"
        )
    channels, height, width = told["input_size"]
    channels = arguments.get("in_chans", channels)
    upsample = None
    if not ours:
        if height != width:
            raise ValueError(f"its images are not square, {width}x{height}")
        upsample = height
    classes = config.get("num_classes", told["num_classes"])
    if not (isinstance(classes, int) and classes <= MOST_CLASSES):
        raise ValueError(f"its classes are {classes!r:.40}, more than {MOST_CLASSES:,}")
    return {
        "architecture": known,
        "width": arguments.get("width", 1.0),
        "head": head_in(arguments),
        "num_classes": classes,
        "in_channels": channels,
        "upsample": upsample,
        "interpolation": None if ours else _interpolation(told),
        "form": "deployed" if arguments.get("deployed") else "training",
        "classes": _labels(config.get("label_names", told.get("label_names")), classes),
        "size": [height, width],
        "mean": _per_channel(told["mean"], channels),
        "std": _per_channel(told["std"], channels),
        "recipe": {"name": name},
    }


def _pictures(
    num_classes: int,
    input_size: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
    license: str | None,
) -> dict[str, Any]:
    return {
        "num_classes": num_classes,
        "input_size": input_size,
        # As images are resized here: whole, and bilinear.
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "mean": tuple(mean),
        "std": tuple(std),
        **({} if license is None else {"license": license}),
    }


def _interpolation(told: Mapping[str, Any]) -> Any:
    named = told.get("interpolation")
    return named if named in get_args(Interpolation) else "bilinear"


def _per_channel(values: Any, channels: int) -> list[Any]:
    """Return a value for each channel; timm's value, if the same for all, is for all here too."""
    same = len(set(values)) == 1 and channels <= MOST_CHANNELS
    return list(values)[:1] * channels if same else list(values)


def _labels(names: Any, count: int) -> list[str]:
    if names is None:
        return list(map(str, range(count)))
    if isinstance(names, dict):
        # By number, where timm has no name.
        return [str(names.get(str(number), number)) for number in range(count)]
    return list(map(str, names))


def add_prefix(model: Network, names: Sequence[str]) -> str:
    """Return the prefix of timm's names in ``model``: that of a teacher's network, or none."""
    inside = isinstance(model, TimmNetwork) and not any(n.startswith("network.") for n in names)
    return "network." if inside else ""
