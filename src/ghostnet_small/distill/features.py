"""Losses between feature maps ``(N, C, H, W)`` of student and teacher, and taps that read maps.

The losses are means over the batch and send no gradient to the teacher. Where the maps' heights
or widths differ, the larger one is average-pooled to the smaller. They have no unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.distill.losses import at_least_float32
from ghostnet_small.errors import InputError, nearest


def attention_map(feature_map: Tensor) -> Tensor:
    """Return the attention map ``(N, C, H, W) -> (N, H, W)``, of length 1 for each image.

    The mean over the channels of the squares, divided by its Euclidean norm; zeros stay zeros.

    Raises ``InputError`` where the map is not floating ``(N, C, H, W)``.

    Source: arXiv:1612.03928, section 3.1, with p = 2.
    """
    _check_map(feature_map)
    strength = at_least_float32(feature_map).square().mean(1)
    return functional.normalize(strength.flatten(1)).view_as(strength)


def attention_transfer_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference of the attention maps of two ``(N, C, H, W)``.

    The channels may differ. A value is at most 2 / (H W), so this loss needs a large weight: the
    authors' is 1000.

    Raises ``InputError`` where the maps are not floating ``(N, C, H, W)`` of as many images.

    Source: arXiv:1612.03928, section 3.1.
    Differs from the paper: squared norms, and their mean over positions, as in the authors' code.
    """
    student, teacher = _of_one_size(student_map, teacher_map)
    return (attention_map(student) - attention_map(teacher)).square().mean()


def hint_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared difference of two feature maps ``(N, C, H, W)``.

    Raises ``InputError`` where the maps are not floating ``(N, C, H, W)`` of the same numbers of
    images and channels; ``make_adapter`` gives the student's map the teacher's channels.

    Source: arXiv:1412.6550, section 2.2.
    Differs from the paper: the mean over all elements, not half of their sum; an adapter keeps
    the height and width, which pooling makes equal.
    """
    student, teacher = _of_one_size(student_map, teacher_map)
    if student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"student_map has {student.shape[1]} channels and teacher_map {teacher.shape[1]}; "
            f"put make_adapter({student.shape[1]}, {teacher.shape[1]}) behind the student's"
        )
    return functional.mse_loss(student, teacher)


def make_adapter(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return an adapter ``(N, student_channels, H, W) -> (N, teacher_channels, H, W)``.

    It is a 1x1 convolution without bias, to be trained with the student, or an identity where the
    numbers of channels are equal.

    Raises ``InputError`` for fewer than one channel.
    """
    if student_channels < 1 or teacher_channels < 1:
        raise InputError(
            f"channels are {student_channels} and {teacher_channels}; both must be at least 1"
        )
    if student_channels == teacher_channels:
        return nn.Identity()
    return nn.Conv2d(student_channels, teacher_channels, 1, bias=False)


class Taps:
    """A store of the outputs of a model's named sub-modules, until they are taken.

    ``names`` are those of ``model.named_modules()``, such as ``blocks.3``. Outputs keep their
    gradient's history, and with it memory, until ``take`` or the next forward of the model; for a
    module that runs several times in one forward, the last output is kept. Copies of the model are
    not tapped. ``remove`` the taps before you pickle the whole model.

    Raises ``InputError`` for a name that the model does not have.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        # With duplicates: otherwise a module with two names would be known by only one.
        known = dict(model.named_modules(remove_duplicate=False))
        known.pop("")
        for name in names:
            if name not in known:
                raise InputError(_unknown(name, list(known)))
        self.names = tuple(names)
        self._outputs: dict[str, Any] = {}
        self._hooks = [model.register_forward_pre_hook(self._forget_hook(model))]
        for name in self.names:
            hook = self._keep_hook(name, known[name])
            self._hooks.append(known[name].register_forward_hook(hook))

    def take(self) -> dict[str, Tensor]:
        """Return the outputs ``(N, C, H, W)`` of the last forward by name, and forget them.

        Raises ``InputError`` where a module has no output, or not a tensor of four dimensions.
        """
        outputs, self._outputs = self._outputs, {}
        for name in self.names:
            if name not in outputs:
                raise InputError(
                    f"module {name!r} put out nothing since its output was last taken; name one "
                    "that every forward of the model calls, and run the model before"
                )
            if not (isinstance(outputs[name], Tensor) and outputs[name].ndim == 4):
                raise InputError(
                    f"module {name!r} put out {_kind(outputs[name])}, not a feature map "
                    "(N, C, H, W); name a block or a convolution"
                )
        return {name: outputs[name] for name in self.names}

    def remove(self) -> None:
        """Remove the taps from the model, and forget outputs that were not taken."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._outputs = [], {}

    # A deep copy of the model, such as that of a moving average, has the same hooks, so they
    # check which model runs.
    def _forget_hook(self, model: nn.Module) -> Any:
        def forget(module: nn.Module, _: Any) -> None:
            if module is model:
                # Otherwise a module that is skipped this time would keep its earlier output.
                self._outputs = {}

        return forget

    def _keep_hook(self, name: str, tapped: nn.Module) -> Any:
        def keep(module: nn.Module, _: Any, output: Any) -> None:
            if module is tapped:
                self._outputs[name] = output

        return keep


def channels_of(
    model: nn.Module, names: Sequence[str], picture_shape: tuple[int, int, int]
) -> dict[str, int]:
    """Return the output channels of named sub-modules for an image ``(C, H, W)``.

    Runs the model once, without gradient and in evaluation mode, and then restores its mode.

    Raises ``InputError`` as ``Taps`` and its ``take`` do.
    """
    taps = Taps(model, names)
    # One by one: parts of a model in training may be kept in evaluation mode.
    modes = [(module, module.training) for module in model.modules()]
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *picture_shape, device=weight.device, dtype=weight.dtype))
        return {name: output.shape[1] for name, output in taps.take().items()}
    finally:
        taps.remove()
        for module, training in modes:
            module.training = training


def _check_map(feature_map: Tensor) -> None:
    if not feature_map.is_floating_point() or feature_map.ndim != 4 or feature_map.numel() == 0:
        raise InputError(
            f"a feature map is {_kind(feature_map)}; it must be floating (N, C, H, W): name a "
            "block or a convolution"
        )


def _of_one_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps in at least float32 and of one height and width, the teacher's detached."""
    _check_map(student)
    _check_map(teacher)
    if len(student) != len(teacher):
        raise InputError(
            f"student_map is of {len(student)} images and teacher_map of {len(teacher)}; give both "
            "models the same batch"
        )
    height, width = (min(student.shape[i], teacher.shape[i]) for i in (2, 3))

    def pooled(x: Tensor) -> Tensor:
        x = at_least_float32(x)
        same = x.shape[2:] == (height, width)
        return x if same else functional.adaptive_avg_pool2d(x, (height, width))

    return pooled(student), pooled(teacher.detach())


def _kind(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"{str(output.dtype).removeprefix('torch.')} {tuple(output.shape)}"
    return f"a {type(output).__name__}"


def _unknown(name: str, known: list[str], most: int = 10) -> str:
    """Return the message about a name that the model does not have."""
    # The outer modules first: their names are prefixes of the others.
    some = sorted(known, key=lambda known_name: known_name.count("."))[:most]
    hint = f"; {nearest(name, known)}, of {', '.join(some)}" if known else ", nor any other"
    return f"the model has no module {name!r}{hint}{', ...' if len(known) > most else ''}"
