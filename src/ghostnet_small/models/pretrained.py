"""Pretrained weights from a file for a network of timm, checked name by name."""

from __future__ import annotations

import logging
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.models.teachers import TimmTeacher
from ghostnet_small.tensorfile import read_tensors

SUFFIX = ".safetensors"
# Names under which training programs store a state dict among other things.
_STATES = ("state_dict_ema", "model_ema", "state_dict", "model")
_UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile),
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError),
)
_COUNTERS = "num_batches_tracked"
_DATA_SETS = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k"} | dict.fromkeys(
    ("in21k", "in22k"), "ImageNet-21k"
)

_log = logging.getLogger(__name__)  # for notices: nothing is wrong


def mean_std(teacher: TimmTeacher, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and std of each channel, 0 to 1, for timm's weights of ``teacher``.

    For grey images they are the averages over the channels.

    Raises ``InputError`` for images that are neither grey nor in colour.
    """
    told = _known(teacher)
    if channels == 1:
        return (sum(told.mean) / len(told.mean),), (sum(told.std) / len(told.std),)
    if channels != len(told.mean):
        raise InputError(
            f"the images have {channels} channels, and the pretrained weights of "
            f"{teacher.timm_name} a mean and std for {len(told.mean)}; give data.mean and data.std"
        )
    return tuple(told.mean), tuple(told.std)


def pretrained_on(teacher: TimmTeacher) -> str:
    """Return the dataset that ``teacher`` was pretrained on, from timm's tag.

    It is "ImageNet-1k", for example, or the tag itself.
    """
    tag = str(_known(teacher).tag)
    found = [name for part, name in _DATA_SETS.items() if part in tag.split("_")]
    return " and ".join(dict.fromkeys(found)) or tag


def _known(teacher: TimmTeacher) -> Any:
    """Return timm's ``PretrainedCfg`` of a network's weights."""
    import timm

    known = timm.get_pretrained_cfg(teacher.timm_name)
    if known is None or known.mean is None:
        raise InputError(
            f"timm has no weights of {teacher.timm_name}; train it with model.pretrained false, or "
            "choose a network that has some: timm.list_pretrained()"
        )
    return known


def read_pretrained(path: str, teacher: TimmTeacher) -> dict[str, Any]:
    """Return the overlay that makes timm load ``path`` in place of its own weights.

    It has the tensors under the network's names, and their number of classes. The file is a
    safetensors file, or a state dict written by ``torch.save``. Where its names are not the
    network's, the tensors are taken in order, if all shapes and last parts of names (weight, bias,
    running_mean ...) agree; this is logged. Counters of batches may be absent.

    Raises ``InputError`` where it cannot be read, is not a state dict, or belongs to another
    network, with the first tensor that differs.
    """
    import timm

    state = _read(expanded(path))
    with torch.device("meta"):
        network: Any = timm.create_model(teacher.timm_name)
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    classifiers = network.pretrained_cfg.get("classifier") or ()
    last = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    what = f"model.pretrained {path}"
    found = {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTERS)}
    wanted = {name: shape for name, shape in own.items() if not name.endswith(_COUNTERS)}
    if set(found) != set(wanted):
        found = _in_order(found, wanted, last, path, teacher)
    for name, shape in wanted.items():
        if not _agree(found[name], name, shape, last):
            raise InputError(
                f"{what} is of another network than {teacher.timm_name}: {name} has shape "
                f"{tuple(found[name].shape)}, the network's is {shape}; give the weights of "
                "model.name"
            )
    counted = {name: torch.zeros((), dtype=torch.long) for name in own if name not in wanted}
    classes = {len(found[f"{name}.weight"]) for name in last if f"{name}.weight" in found}
    overlay: dict[str, Any] = {"state_dict": {**found, **counted}, "label_offset": 0}
    return overlay | ({"num_classes": classes.pop()} if len(classes) == 1 else {})


def _in_order(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, tuple[int, ...]],
    last: tuple[str, ...],
    path: str,
    teacher: TimmTeacher,
) -> dict[str, Tensor]:
    """Return the tensors ``found`` under the names ``wanted``, in order."""
    what = f"model.pretrained {path} is of another network than {teacher.timm_name}"
    unknown = next((name for name in found if name not in wanted), None)
    if path.endswith(SUFFIX) or unknown is None:
        name = unknown or next(name for name in wanted if name not in found)
        raise InputError(
            f"{what}: {name!r:.80} is {'unknown' if unknown else 'missing'}; give the weights of "
            "model.name, under timm's names (a safetensors file has no order to go by)"
        )
    for (theirs, tensor), (ours, shape) in zip(found.items(), wanted.items(), strict=False):
        same_end = theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        if not (same_end and _agree(tensor, ours, shape, last)):
            raise InputError(
                f"{what}: {theirs!r:.80} has shape {tuple(tensor.shape)}, where the network has "
                f"{ours} of shape {shape}; give the weights of model.name"
            )
    if len(found) != len(wanted):
        raise InputError(
            f"{what}: it has {len(found)} tensors, the network {len(wanted)}; give the weights of "
            "model.name"
        )
    pairs = dict(zip(wanted, found, strict=True))
    ours, theirs = next(iter(pairs.items()))
    _log.warning(
        "the %d tensors of %s have other names than timm's %s; they are taken in order, from %s as "
        "%s, for all shapes agree",
        *(len(pairs), path, teacher.base_name, theirs, ours),
    )
    return {ours: found[theirs] for ours, theirs in pairs.items()}


def _agree(tensor: Tensor, name: str, shape: tuple[int, ...], last: tuple[str, ...]) -> bool:
    """Return whether a tensor has the network's shape, except for the number of classes."""
    if name.rpartition(".")[0] in last:
        return tuple(tensor.shape[1:]) == shape[1:]
    return tuple(tensor.shape) == shape


def _is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file, in its order."""
    if not path.is_file():
        raise InputError(
            f"model.pretrained {path} is not a file; give one of weights (.safetensors, or what "
            "torch.save wrote), or true for timm's own"
        )
    if path.suffix == SUFFIX:
        return read_tensors(path)[0]
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                # PyTorch never compresses, but would unpack such an archive to any size.
                if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                    raise ValueError("it is a compressed archive, which torch.save does not write")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles by other programs
            found = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()).split(". ")[0][:120] or type(error).__name__
        raise InputError(
            f"model.pretrained {path} cannot be read as a state dict ({reason}); give a "
            ".safetensors file, or a state dict that torch.save wrote"
        ) from None
    for name in _STATES:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
            break
    if not (
        isinstance(found, dict)
        and found
        and all(isinstance(k, str) and _is_dense(v) for k, v in found.items())
    ):
        raise InputError(
            f"model.pretrained {path} holds no state dict, names with a tensor each; give one that "
            "torch.save(model.state_dict(), FILE) wrote"
        )
    # The names of a network that was trained in several processes.
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}
