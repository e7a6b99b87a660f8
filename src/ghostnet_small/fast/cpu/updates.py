"""The updates of all weights in a step, each one call of a C kernel where there are kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.kernels.calls import Pointers, call, double, usable_for

Sizes = ctypes.Array[ctypes.c_int64]


class SGD(torch.optim.SGD):
    """``torch.optim.SGD``: the same steps and state up to rounding, and less time between tensors.

    Parameters that the kernels do not take, and settings beside momentum, Nesterov and weight
    decay, are PyTorch's.
    """

    _own: tuple[list[nn.Parameter], list[Tensor], Sizes] | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; see ``torch.optim.SGD``."""
        if self._own is None:
            self._own = self._listed()
        parameters, momenta, sizes = self._own
        gradients = [parameter.grad for parameter in parameters]
        if closure is not None or not parameters or any(grad is None for grad in gradients):
            self._own = None  # PyTorch's step may begin momenta
            return super().step(closure)
        first = self.param_groups[0]
        call(
            "sgd",
            parameters[0],
            len(parameters),
            sizes,
            Pointers(parameters),
            Pointers(gradients),
            Pointers(momenta),
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

    def _listed(self) -> tuple[list[nn.Parameter], list[Tensor], Sizes]:
        """Return all parameters, their momenta and sizes; none where they are PyTorch's."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        if not parameters or not self._suits(parameters):
            return [], [], _sizes([])
        momenta = []
        for parameter in parameters:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            momenta.append(state["momentum_buffer"])
        return parameters, momenta, _sizes(parameters)

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
        """Return the number of that ``name`` for each parameter."""
        groups = self.param_groups
        each = [number for g in groups for number in [float(g[name])] * len(g["params"])]
        return (ctypes.c_double * len(each))(*each)


class Average:
    """A moving average of tensors: ``averages`` towards ``values``, one by one."""

    def __init__(self, averages: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        self.averages, self.values = list(averages), list(values)
        tensors = [*self.averages, *self.values]
        self.sizes = _sizes(self.averages)
        self.by_kernel = usable_for(tensors[0]) and all(
            tensor.dtype == tensors[0].dtype for tensor in tensors
        )

    def move(self, share: float) -> None:
        """Add to each average a ``share`` of its difference from the value."""
        if not self.by_kernel:
            torch._foreach_lerp_(self.averages, self.values, share)
            return
        averages, values = Pointers(self.averages), Pointers(self.values)
        count = len(self.averages)
        call("average", self.averages[0], count, self.sizes, averages, values, double(share))


def _sizes(tensors: Sequence[Tensor]) -> Sizes:
    return (ctypes.c_int64 * len(tensors))(*(tensor.numel() for tensor in tensors))
