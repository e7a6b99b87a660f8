"""Hundreds of small parameters in few large tensors: kernels take those of a layer at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Packed:
    """Copies of ``tensors``, float32, one behind the other in the order in which they are added."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.numbers = 0

    def add(self, tensors: Sequence[Tensor]) -> slice:
        """Where ``tensors`` will be."""
        start = self.numbers
        self.tensors += tensors
        self.numbers += sum(tensor.numel() for tensor in tensors)
        return slice(start, self.numbers)

    def views(self, flat: Tensor) -> list[Tensor]:
        """The parts of ``flat``, each of the shape and strides of what it is a copy of."""
        found, start = [], 0
        for tensor in self.tensors:
            # The strides too: copies of unlike ones would be a kernel each.
            found.append(torch.as_strided(flat, tensor.shape, tensor.stride(), start))
            start += tensor.numel()
        return found

    @torch.no_grad()
    def gather(self) -> Tensor:
        """The copies."""
        flat = self.tensors[0].new_empty(self.numbers)
        torch._foreach_copy_(self.views(flat), self.tensors)
        return flat

    @torch.no_grad()
    def scatter(self, flat: Tensor) -> None:
        """Copy ``flat`` back."""
        torch._foreach_copy_(self.tensors, self.views(flat))
