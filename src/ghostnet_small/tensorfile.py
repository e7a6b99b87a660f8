"""Tensors and plain values in one safetensors file: complete or absent, and nothing executable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.files import DIGEST, canonical, write_atomic

Shapes = dict[str, tuple[int, ...]]


def write_tensors(path: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Replace ``path`` by a safetensors file of ``tensors``, ``values`` (JSON) in its header.

    The header holds a SHA-256 of both as well, which ``read_tensors`` compares.
    """
    plain = dict(zip(tensors, on_cpu(list(tensors.values())), strict=True))
    # In one entry, because safetensors writes several in no fixed order.
    signed = {**values, DIGEST: tensors_digest(plain, values)}
    write_atomic(path, save(plain, metadata={"values": json.dumps(signed)}))


def read_tensors(
    path: Path, check: Callable[[Shapes], None] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, on the CPU, and the values in its header.

    Memory is taken only for what the file holds, and only after ``check``, which gets the
    tensors' shapes, has passed. A file without a digest, an old one or another program's, is
    accepted as it is.

    Raises ``InputError`` where there is no such file, or it is a pickle (which is never
    unpickled), cut short, changed, or not of this format; and what ``check`` raises.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; give a folder that a training wrote")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if check is not None:
                check({name: tuple(file.get_slice(name).get_shape()) for name in names})
            metadata = file.metadata() or {}
            # Copied, because a file's tensors lie at odd addresses, where the same arithmetic can
            # take other vector lanes and round differently than in the process that wrote them.
            tensors = {name: file.get_tensor(name).clone() for name in names}
        values = json.loads(metadata.get("values", "{}"))
        if not isinstance(values, dict):
            raise ValueError("its values are not a JSON object")
        digest = values.pop(DIGEST, None)
        if digest is not None and digest != tensors_digest(tensors, values):
            raise ValueError("its digest is not that of its content")
        return tensors, values
    except InputError:
        raise
    except (SafetensorError, ValueError, OSError, RuntimeError, KeyError, TypeError) as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise InputError(
                f"{path} is a pickle, which can run code and is never loaded; save the weights "
                "as safetensors (safetensors.torch.save_file)"
            ) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{path} is damaged or not a safetensors file ({reason[:200]}); copy it again or take "
            "an earlier one"
        ) from None


def on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """``tensors`` on the CPU, contiguous and without a gradient.

    Those of another device come in one copy a type: each copy waits for the device.
    """
    found = [tensor.detach() for tensor in tensors]
    apart: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, tensor in enumerate(found):
        if tensor.device.type == "cpu":
            found[place] = tensor.contiguous()
        else:
            apart.setdefault((tensor.device, tensor.dtype), []).append(place)
    for there in apart.values():
        for place, tensor in zip(there, _in_one_copy([found[p] for p in there]), strict=True):
            found[place] = tensor
    return found


def _in_one_copy(tensors: Sequence[Tensor]) -> list[Tensor]:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def tensors_digest(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> str:
    """SHA-256 of ``values`` and of contiguous ``tensors``: names, types, shapes and bytes."""
    sha = hashlib.sha256(canonical(values))
    for name in sorted(tensors):
        tensor = tensors[name]
        # Each ends its line, so that no name is read as a type and no shape as bytes.
        about = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        sha.update(f"\n{about}\n".encode())
        # As bytes, because NumPy lacks some of the types (bfloat16).
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
