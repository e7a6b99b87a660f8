"""Hundreds of small parameters in few large tensors: one kernel takes all of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Packed:
    """Copies of ``tensors`` in one flat float32 tensor, in the order in which they are added."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.numbers = 0

    def add(self, tensors: Sequence[Tensor]) -> slice:
        """Add ``tensors``, and return their place in the flat tensor."""
        start = self.numbers
        self.tensors += tensors
        self.numbers += sum(tensor.numel() for tensor in tensors)
        return slice(start, self.numbers)

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return the parts of ``flat``, each with the shape and strides of its original."""
        found, start = [], 0
        for tensor in self.tensors:
            # The strides too: a copy between different strides would be a kernel of its own.
            found.append(torch.as_strided(flat, tensor.shape, tensor.stride(), start))
            start += tensor.numel()
        return found

    @torch.no_grad()
    def gather(self) -> Tensor:
        """Return the copies."""
        flat = self.tensors[0].new_empty(self.numbers)
        torch._foreach_copy_(self.views(flat), self.tensors)
        return flat

    @torch.no_grad()
    def scatter(self, flat: Tensor) -> None:
        """Copy ``flat`` back to the tensors."""
        torch._foreach_copy_(self.tensors, self.views(flat))
