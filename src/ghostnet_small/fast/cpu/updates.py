"""The updates of all weights in a step, each one call of a C kernel where there are kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.kernels.calls import (
    LastingPointers,
    Pointers,
    call,
    double,
    usable_for,
)

Sizes = ctypes.Array[ctypes.c_int64]


class SGD(torch.optim.SGD):
    """``torch.optim.SGD``: the same steps and state up to rounding, and less time between tensors.

    Parameters that the kernels do not take, and settings beside momentum, Nesterov and weight
    decay, are PyTorch's.
    """

    _own: _Weights | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; see ``torch.optim.SGD``."""
        own = self._own = self._own or self._listed()
        # A rate in a tensor is for steps that a GPU records: nothing may look at its value.
        by_tensor = any(isinstance(group["lr"], Tensor) for group in self.param_groups)
        if own is None or by_tensor or closure is not None or not own.have_gradients():
            self._own = None  # PyTorch's step may begin momenta
            return super().step(closure)
        first = self.param_groups[0]
        call(
            "sgd",
            own.parameters[0],
            len(own.parameters),
            own.sizes,
            own.weights.now(),
            own.gradients.now(),
            own.momenta,
            own.groups,
            self._of_each("lr"),
            self._of_each("weight_decay"),
            double(first["momentum"]),
            int(first["nesterov"]),
        )
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; see ``torch.optim.Optimizer``."""
        super().load_state_dict(state_dict)
        self._own = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters; see ``torch.optim.Optimizer``."""
        super().add_param_group(param_group)
        self._own = None

    def _listed(self) -> _Weights | None:
        """Return all parameters with their momenta; ``None`` where they are PyTorch's to move."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        if not parameters or not self._suits(parameters):
            return None
        numbers = [k for k, group in enumerate(self.param_groups) for _ in group["params"]]
        momenta = []
        for parameter in parameters:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            momenta.append(state["momentum_buffer"])
        return _Weights(parameters, momenta, numbers)

    def _suits(self, parameters: Sequence[Tensor]) -> bool:
        first = self.param_groups[0]
        same = ("momentum", "nesterov", "dampening", "maximize")
        return (
            usable_for(parameters[0])
            and first["momentum"] != 0
            and first["dampening"] == 0
            and not first["maximize"]
            and all(group[name] == first[name] for group in self.param_groups for name in same)
            and all(p.dtype == parameters[0].dtype and p.is_cpu for p in parameters)
            and all(p.grad is not None for p in parameters)
        )

    def _of_each(self, name: str) -> ctypes.Array[ctypes.c_double]:
        """Return the number of that ``name`` for each group."""
        numbers = [group[name] for group in self.param_groups]
        return (ctypes.c_double * len(numbers))(*numbers)


class _Weights:
    """Parameters with their gradients, momenta and group's numbers, as the kernel takes them."""

    def __init__(
        self, parameters: list[nn.Parameter], momenta: list[Tensor], groups: list[int]
    ) -> None:
        self.parameters, self.sizes = parameters, _sizes(parameters)
        self.groups = (ctypes.c_int32 * len(groups))(*groups)
        self.weights, self.momenta = LastingPointers(parameters), Pointers(momenta)
        self.gradients = LastingPointers([])

    def have_gradients(self) -> bool:
        """Return whether each parameter has a gradient, and look them up."""
        found = [parameter.grad for parameter in self.parameters]
        there = [gradient for gradient in found if gradient is not None]
        if len(there) == len(found):
            self.gradients.tensors = there
        return len(there) == len(found)


class Average:
    """A moving average of tensors: ``averages`` towards ``values``, one by one.

    Tensors of integers take the values as they are.
    """

    def __init__(self, averages: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        floats = [average.is_floating_point() for average in averages]
        whole = [not is_float for is_float in floats]
        self.averages, self.values = (
            list(compress(averages, floats)),
            list(compress(values, floats)),
        )
        self.copies, self.counts = list(compress(averages, whole)), list(compress(values, whole))
        tensors = [*self.averages, *self.values]
        self.by_kernel = bool(tensors) and all(
            usable_for(tensor) and tensor.dtype == tensors[0].dtype for tensor in tensors
        )
        # The kernel goes over both number by number in memory.
        self.by_kernel &= all(
            a.stride() == v.stride() for a, v in zip(averages, values, strict=True)
        )
        self.moved = [LastingPointers(each) for each in (self.averages, self.values)]
        self.copied = [LastingPointers(each) for each in (self.copies, self.counts)]
        self.sizes, self.bytes = _sizes(self.averages), _sizes(self.copies, _bytes)

    def move(self, share: float) -> None:
        """Add to each average a ``share`` of its difference from the value."""
        if not self.by_kernel:
            if self.averages:
                torch._foreach_lerp_(self.averages, self.values, share)
            if self.copies:
                torch._foreach_copy_(self.copies, self.counts)
            return
        like, count = self.averages[0], len(self.averages)
        averages, values = (pointers.now() for pointers in self.moved)
        call("average", like, count, self.sizes, averages, values, double(share))
        copies, counts = (pointers.now() for pointers in self.copied)
        call("copied", like, len(self.copies), self.bytes, copies, counts)


def _sizes(tensors: Sequence[Tensor], size: Callable[[Tensor], int] = Tensor.numel) -> Sizes:
    return (ctypes.c_int64 * len(tensors))(*map(size, tensors))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
