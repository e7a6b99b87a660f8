"""Tensors on their way to a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ghostnet_small import tensorfile
from ghostnet_small.tensorfile import on_cpu, read_tensors, write_tensors


def several() -> dict[str, Tensor]:
    """Of many shapes and memory formats."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 5, 5, generator=random)
    return {
        "kernel": weight.to(memory_format=torch.channels_last),
        "turned": torch.randn(3, 7, generator=random).T,
        "learned": torch.randn(5, generator=random).requires_grad_(),
        "none": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    }


def test_in_one_copy_they_are_the_same() -> None:
    tensors = list(several().values())
    found = tensorfile._in_one_copy([tensor.detach() for tensor in tensors])
    for tensor, other in zip(found, tensors, strict=True):
        assert torch.equal(tensor, other) and tensor.shape == other.shape
        assert tensor.is_contiguous() and not tensor.requires_grad


def test_a_file_of_views_is_that_of_tensors(tmp_path: Path) -> None:
    """What comes in one copy shares its memory, which a safetensors file need not know."""
    tensors = several() | {"count": torch.tensor(3), "half": torch.ones(3, dtype=torch.bfloat16)}
    write_tensors(tmp_path / "plain", tensors, {"a": 1})
    views = {k: tensors[k] for k in ("count", "half")}
    floats = several()
    apart = tensorfile._in_one_copy([tensor.detach() for tensor in floats.values()])
    views |= dict(zip(floats, apart, strict=True))
    write_tensors(tmp_path / "views", {name: views[name] for name in tensors}, {"a": 1})
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "views").read_bytes()
    read, values = read_tensors(tmp_path / "views")
    assert values == {"a": 1}
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_on_the_cpu_they_stay_where_they_are() -> None:
    tensors = [torch.arange(3), torch.ones(2, 2)]
    found = on_cpu(tensors)
    assert [t.data_ptr() for t in found] == [t.data_ptr() for t in tensors]
