"""Weights on disk: ``model.safetensors``, and ``config.json`` that describes them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.hub.models import CONFIG, WEIGHTS
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.heads import head_in, head_text
from ghostnet_small.models.network import Network
from ghostnet_small.models.published import check_shape, load_checked
from ghostnet_small.models.registry import create_from
from ghostnet_small.models.shipped_weights import find_weights, known_weights
from ghostnet_small.models.timm_layout import (
    UnknownNetwork,
    add_prefix,
    from_timm,
    our_name,
    saved_state,
    timm_keys,
)
from ghostnet_small.nn.fold import is_folded, reparameterize
from ghostnet_small.tensorfile import Shapes, read_tensors, tensors_digest, write_tensors

KINDS = ("last", "best")
# The most pixels of an image that a model may require: hostile weights must not make ``predict``
# fill the memory.
MOST_PIXELS = 2048**2
# The most times that the training form has the deployed form's bytes (1.5 is the most measured).
FORMS_RATIO = 4


@dataclass(frozen=True)
class ModelInfo(Mapping[str, Any]):
    """The facts of a trained model; ``info.classes`` and ``info["classes"]`` are the same.

    ``classes`` in the order of the logits; ``size`` (height, width) of the training images,
    in pixels; a channel's ``mean`` and ``std`` for pixels scaled to 0 .. 1; the ``recipe`` as
    resolved; ``fingerprints`` of the training's splits by name, where known.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: dict[str, Any]
    fingerprints: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Convert all values to plain ones, because they may come from NumPy or as lists.

        Raises ``InputError`` for a size or a normalisation that no images can have.
        """
        try:
            plain = {
                "classes": tuple(map(str, self.classes)),
                "size": tuple(map(operator.index, self.size)),
                "mean": tuple(map(float, self.mean)),
                "std": tuple(map(float, self.std)),
            }
        except (TypeError, ValueError) as error:
            raise InputError(
                f"size {self.size!r:.80}, mean {self.mean!r:.80} or std {self.std!r:.80} is not "
                f"allowed ({error}); give whole numbers of pixels, and a number for each channel"
            ) from None
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if not (min(self.size) >= 1 and self.size[0] * self.size[1] <= MOST_PIXELS):
            raise InputError(
                f"size {self.size[1]}x{self.size[0]} is not allowed; give at most "
                f"{MOST_PIXELS:,} pixels"
            )
        if not (len(self.mean) == len(self.std) > 0 and all(map(math.isfinite, self.mean))):
            raise InputError(
                f"mean {self.mean} and std {self.std} are not allowed; give a finite number each "
                "for every channel"
            )
        if not all(0 < value < math.inf for value in self.std):
            raise InputError(f"std {self.std} is not allowed; give values above 0")

    def __getitem__(self, key: str) -> Any:
        if key not in _INFO:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_INFO)

    def __len__(self) -> int:
        return len(_INFO)


_INFO = tuple(one.name for one in fields(ModelInfo))


def save_model(
    model: Network, info: ModelInfo, folder: Path, *, license: str | None = None
) -> None:
    """Write ``model``, in either form, into ``folder``, which is made where it is missing.

    ``config.json`` also has the keys of timm's layout, and the ``license`` where one is given.

    Raises ``InputError`` where ``info`` does not have a name for each of the model's classes or a
    mean for each of its channels: such files could not be loaded.
    """
    _check_fits(model, info)
    # A teacher has nothing to fold and only one form.
    deployed = isinstance(model, GhostNetV3) and is_folded(model)
    told = asdict(info)
    recipe, fingerprints = told.pop("recipe"), told.pop("fingerprints")
    config = {
        **model.config,
        "form": "deployed" if deployed else "training",
        **told,
        **timm_keys(model, deployed=deployed, **told, license=license),
        "recipe": recipe,
        **({"fingerprints": fingerprints} if fingerprints else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, saved_state(model), {})
    write_atomic(folder / CONFIG, signed_json(config))


def load(path: str | Path, weights: str = "last") -> tuple[Network, ModelInfo]:
    """Return a trained model in evaluation mode, on the CPU, and its ``ModelInfo``.

    ``path`` is a run's folder, in which ``weights`` selects "last" (of the last epoch, averaged
    where the recipe averages) or "best" (of the epoch with the best validation accuracy); a folder
    that holds ``model.safetensors`` and ``config.json`` itself; the name of shipped weights, from
    ``list_weights``; or ``hf-hub:owner/name[@revision]``, a model of the hub, made by ``push`` or,
    for a network that is known here, by timm.

    Raises ``InputError`` where there are no such weights, or they are damaged, a pickle, or of
    another architecture than in their ``config.json``; and where a teacher needs timm and timm is
    missing.
    """
    if weights not in KINDS:
        raise InputError(f"weights {weights!r} are not known; choose one of {', '.join(KINDS)}")
    folder = weights_folder(Path(path), weights)
    config, info = _read_config(folder / CONFIG)
    what = str(folder / WEIGHTS)
    build = partial(create_from, config)
    # Shapes are compared before memory is taken: on the meta device a model takes none.
    with torch.device("meta"):
        # In the images' type, whatever PyTorch's default is.
        model = build().float().eval()
    deployed = config["form"] == "deployed" and isinstance(model, GhostNetV3)

    def check(shapes: Shapes) -> None:
        start = add_prefix(model, list(shapes))
        named = {start + name: shape for name, shape in shapes.items()}
        _check_shapes(named, model=model, deployed=deployed, what=what)

    read, _ = read_tensors(folder / WEIGHTS, check)
    start = add_prefix(model, list(read))
    tensors = {start + name: tensor for name, tensor in read.items()}
    if deployed:
        # Folding meta tensors would make PyTorch import its compiler, which takes seconds, so
        # this model takes memory, but no more than the file's size allows.
        if _size_bytes(model.state_dict()) > FORMS_RATIO * _size_bytes(tensors):
            raise InputError(
                f"{what} is of another architecture or size: it is too small for width "
                f"{config['width']}{head_text(config['head'])}; copy it again with its {CONFIG}"
            )
        with torch.random.fork_rng(devices=[]):
            model = reparameterize(build().float().eval())  # type: ignore[assignment]
    load_checked(model, tensors, what=what, assign=True)
    return model.requires_grad_(True), info


def weights_digest(model: Network) -> str:
    """Return the SHA-256 of a model's tensors and their description, as records keep it."""
    return tensors_digest(model.state_dict(), {"config": model.config})


def _check_fits(model: Network, info: ModelInfo) -> None:
    """Raise ``InputError`` where ``info`` has another number of classes or channels."""
    classes, channels = model.config["num_classes"], model.config["in_channels"]
    if len(info.classes) != classes:
        raise InputError(
            f"info.classes has {len(info.classes)} names, and the model has {classes} "
            "classes; give one name for each: dataclasses.replace(info, classes=(...))"
        )
    if len(info.mean) != channels:
        raise InputError(
            f"info.mean and info.std have {len(info.mean)} values, and the model takes {channels} "
            "channels; give one value for each: dataclasses.replace(info, mean=(...), std=(...))"
        )


def _check_shapes(shapes: Shapes, *, model: Network, deployed: bool, what: str) -> None:
    """Check a file's shapes before tensors are read; ``model``, on the meta device, is unfolded."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # The head is the same in both forms, and the folded form is smaller in total.
    known = ("head.weight",) if deployed else tuple(name for name in own if name in shapes)
    for name in known:
        check_shape(name, shapes.get(name, ()), own[name], what=what)
    if sum(map(math.prod, shapes.values())) > sum(map(math.prod, own.values())):
        unknown = max(shapes, key=lambda name: (name not in own, math.prod(shapes[name])))
        raise InputError(
            f"{what} is of another architecture: it holds more numbers than the model, among "
            f"them {unknown!r:.80}; copy it again with its {CONFIG}"
        )


def _size_bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def weights_folder(path: Path, weights: str) -> Path:
    """Return the folder that ``load`` reads for ``path``; raise ``InputError`` if there is none."""
    path = find_weights(path)
    if not path.is_dir():
        raise InputError(
            f"{path} is not a folder; give a run's folder, such as runs/NAME, a model of the hub "
            "(hf-hub:owner/name), or the name of weights that come with the program "
            f"({known_weights(path)})"
        )
    if (path / CONFIG).is_file() or (path / WEIGHTS).is_file():
        return path
    if (path / weights / CONFIG).is_file():
        return path / weights
    if weights == "best" and (path / "last" / CONFIG).is_file():
        raise InputError(
            f"{path} has no best weights, because it was trained without a validation split; "
            "use --weights last"
        )
    raise InputError(
        f"{path} holds no weights: neither {CONFIG} nor {weights}/{CONFIG} is there; give a "
        "run's folder whose training has finished an epoch"
    )


def _read_config(path: Path) -> tuple[dict[str, Any], ModelInfo]:
    try:
        config = checked_json(path)
        if "form" not in config and "architecture" in config:
            config = from_timm(config, str(path))
        if config["form"] not in ("training", "deployed"):
            raise ValueError(f"form {config['form']!r:.40} is neither training nor deployed")
        if not isinstance(config["classes"], list) or not isinstance(config["recipe"], dict):
            raise ValueError("its classes are no list, or its recipe no object")
        height, width = config["size"]
        info = ModelInfo(
            classes=tuple(map(str, config["classes"])),
            size=(int(height), int(width)),
            mean=tuple(map(float, config["mean"])),
            std=tuple(map(float, config["std"])),
            recipe=config["recipe"],
            fingerprints={str(k): str(v) for k, v in dict(config.get("fingerprints", {})).items()},
        )
        channels, classes = config["in_channels"], config["num_classes"]
        if len(info.mean) != channels or len(info.classes) != classes:
            raise ValueError("its channels or classes contradict each other")
        return {k: config[k] for k in ("width", "form")} | {
            "head": head_in(config),
            "architecture": our_name(config),
            "num_classes": classes,
            "in_channels": channels,
            "upsample": config.get("upsample"),
            "interpolation": config.get("interpolation"),
        }, info
    except UnknownNetwork:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(
            f"{path} does not describe weights of this program ({reason[:200]}); copy it again "
            "from the run that wrote it"
        ) from None
