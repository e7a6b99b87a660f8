"""Counts of parameters, and of multiply-accumulates of convolution and linear layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ghostnet_small.nn.fold import reparameterize


class Complexity(NamedTuple):
    """Parameters, and multiply-accumulate operations (MACs) for one image."""

    params: int
    macs: int

    def __add__(self, other: tuple[Any, ...]) -> Complexity:
        return Complexity(self.params + other[0], self.macs + other[1])


def complexity(model: nn.Module, picture: tuple[int, int, int]) -> dict[str, Complexity]:
    """Return parameters and MACs for an image ``(C, H, W)``, by stage, and ``total``.

    A stage is a direct child of the model, or of a sequence among those (``blocks.3``). A model
    with a single child is a wrapper, and has that child's stages. Only convolution and linear
    layers have MACs; biases have none.
    """
    macs: dict[str, int] = {}
    hooks = []
    parts = _unwrapped(model)
    for name, module in parts.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):

            def count(module: nn.Module, _: Any, output: Tensor, name: str = name) -> None:
                weight = module.weight
                assert isinstance(weight, Tensor)
                positions = math.prod(output.shape[2:])
                macs[name] = weight.numel() * positions

            hooks.append(module.register_forward_hook(count))
    was_training = model.training
    weight = next(model.parameters())
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *picture, device=weight.device, dtype=weight.dtype))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    stages: dict[str, Complexity] = {}
    for stage in _stages(parts):
        part = parts.get_submodule(stage)
        inside = sum(n for name, n in macs.items() if f"{name}.".startswith(f"{stage}."))
        stages[stage] = Complexity(sum(p.numel() for p in part.parameters()), inside)
    stages["total"] = sum(stages.values(), Complexity(0, 0))
    return stages


def both_forms(model: nn.Module, picture: tuple[int, int, int]) -> dict[str, dict[str, Complexity]]:
    """Return ``complexity`` of ``model``, which must be in training form, and its deployed form."""
    was_training = model.training
    try:
        deployed = reparameterize(model.eval())
    finally:
        model.train(was_training)
    return {"training": complexity(model, picture), "deployed": complexity(deployed, picture)}


def by_quantity(forms: dict[str, Complexity]) -> dict[str, dict[str, int]]:
    """Return ``params`` and ``macs`` by form, as records and ``--json`` hold them."""
    return {
        "params": {form: cost.params for form, cost in forms.items()},
        "macs": {form: cost.macs for form, cost in forms.items()},
    }


def _unwrapped(model: nn.Module) -> nn.Module:
    children = list(model.children())
    return children[0] if len(children) == 1 and list(children[0].children()) else model


def _stages(model: nn.Module) -> list[str]:
    stages = []
    for name, child in model.named_children():
        if isinstance(child, nn.Sequential):
            stages += [f"{name}.{inner}" for inner, _ in child.named_children()]
        else:
            stages.append(name)
    return stages
