"""Tensors and plain values in one safetensors file: whole or absent, and nothing executable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic


def write_tensors(path: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Replace ``path`` by a safetensors file of ``tensors``, ``values`` (JSON) in its header."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(plain, metadata={"values": json.dumps(values)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, on the CPU, and the values in its header.

    Raises ``InputError`` where there is no such file, or it is a pickle (which is never
    unpickled), cut short, or not of this format.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; give a folder that a training wrote")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copied, for a file's tensors lie at odd addresses, where the same arithmetic can take
            # other vector lanes and round otherwise than in the process that wrote them.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata.get("values", "{}"))
    except (SafetensorError, ValueError, OSError, RuntimeError) as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise InputError(
                f"{path} is a pickle, which can run code and is never loaded; save the weights "
                "as safetensors (safetensors.torch.save_file)"
            ) from None
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is damaged or no safetensors file ({reason}); copy it again or take an "
            "earlier one"
        ) from None
