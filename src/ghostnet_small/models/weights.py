"""Weights on disk: ``model.safetensors``, and ``config.json`` that says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.published import check_shape, load_checked
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import is_folded, reparameterize
from ghostnet_small.tensorfile import read_tensors, write_tensors

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
KINDS = ("last", "best")


@dataclass(frozen=True)
class ModelInfo(Mapping[str, Any]):
    """What a model was trained for; ``info.classes`` and ``info["classes"]`` are the same.

    ``classes`` in the order of the logits; ``size`` (height, width) of the training pictures,
    in pixels; a channel's ``mean`` and ``std`` for pixels scaled to 0 .. 1; the ``recipe`` as
    resolved.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        if key not in _INFO:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_INFO)

    def __len__(self) -> int:
        return len(_INFO)


_INFO = tuple(field.name for field in fields(ModelInfo))


def save_model(model: GhostNetV3, info: ModelInfo, folder: Path) -> None:
    """Write ``model``, in either form, into ``folder`` (made where it is missing)."""
    form = "deployed" if is_folded(model) else "training"
    config = {**model.config, "form": form, **asdict(info)}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, model.state_dict(), {})
    write_atomic(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def load(path: str | Path, weights: str = "last") -> tuple[GhostNetV3, ModelInfo]:
    """A trained model in evaluation mode, on the CPU, and what it was trained for.

    ``path`` is a run's folder, of which ``weights`` picks "last" (of the last epoch, averaged
    where the recipe averages) or "best" (of the epoch that was best on validation); or a
    folder that holds ``model.safetensors`` and ``config.json`` itself.

    Raises ``InputError`` where there are no such weights, or they are damaged, a pickle, or of
    another architecture than their ``config.json`` says.
    """
    if weights not in KINDS:
        raise InputError(f"weights {weights!r} are not known; choose one of {', '.join(KINDS)}")
    folder = _weights_folder(Path(path), weights)
    config, info = _read_config(folder / CONFIG)
    tensors, _ = read_tensors(folder / WEIGHTS)
    what = str(folder / WEIGHTS)
    build = partial(
        create_model,
        config["architecture"],
        width=config["width"],
        num_classes=config["num_classes"],
        in_channels=config["in_channels"],
    )
    # Shapes are compared before memory is taken: on the meta device a model costs nothing.
    with torch.device("meta"):
        model = build().eval()
    if config["form"] == "deployed":
        # Folding meta tensors would make PyTorch import its compiler, which takes seconds. The
        # head is the same in both forms, so it tells whether a model with memory may be made.
        head = tensors.get("head.weight", torch.empty(0))
        check_shape("head.weight", head, model.head.weight, what=what)
        with torch.random.fork_rng(devices=[]):
            model = reparameterize(build().eval())  # type: ignore[assignment]
    load_checked(model, tensors, what=what, assign=True)
    return model.requires_grad_(True), info


def _weights_folder(path: Path, weights: str) -> Path:
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give a run's folder, such as runs/NAME")
    if (path / CONFIG).is_file() or (path / WEIGHTS).is_file():
        return path
    if (path / weights / CONFIG).is_file():
        return path / weights
    if weights == "best" and (path / "last" / CONFIG).is_file():
        raise InputError(
            f"{path} has no best weights, for it was trained without a validation split; "
            "use --weights last"
        )
    raise InputError(
        f"{path} holds no weights: neither {CONFIG} nor {weights}/{CONFIG} is there; give a "
        "run's folder whose training has finished an epoch"
    )


def _read_config(path: Path) -> tuple[dict[str, Any], ModelInfo]:
    try:
        config = json.loads(path.read_text())
        if config["form"] not in ("training", "deployed"):
            raise ValueError(f"form {config['form']!r} is neither training nor deployed")
        info = ModelInfo(
            classes=tuple(map(str, config["classes"])),
            size=(int(config["size"][0]), int(config["size"][1])),
            mean=tuple(map(float, config["mean"])),
            std=tuple(map(float, config["std"])),
            recipe=dict(config["recipe"]),
        )
        channels, classes = config["in_channels"], config["num_classes"]
        if not len(info.mean) == len(info.std) == channels or len(info.classes) != classes:
            raise ValueError("its channels or classes contradict each other")
        return {k: config[k] for k in ("architecture", "width", "form")} | {
            "num_classes": classes,
            "in_channels": channels,
        }, info
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(
            f"{path} does not describe weights of this program ({reason}); copy it again from "
            "the run that wrote it"
        ) from None
