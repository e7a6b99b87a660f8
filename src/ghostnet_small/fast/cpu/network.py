"""A whole network in training as one function, listed once for a shape and then replayed."""

from __future__ import annotations

import ctypes
import logging
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.bottleneck import bottleneck_of, cut, fused_bottleneck
from ghostnet_small.fast.cpu.conv_chain import chain_of, chained
from ghostnet_small.fast.cpu.fused_parts import Part, pixels_of
from ghostnet_small.fast.cpu.ghost import usable
from ghostnet_small.fast.cpu.head import fused_head, head_of
from ghostnet_small.fast.cpu.kernels import chains
from ghostnet_small.fast.cpu.recording import NotRecordableError, Recording, Replay
from ghostnet_small.models.ghostnetv3 import GhostNetV3, is_of_ghosts
from ghostnet_small.nn.ghost import GhostBottleneck

_log = logging.getLogger(__name__)
# Called for hundreds of objects before each step, so by C.
_GRADIENT = operator.attrgetter("grad")
_NEEDS_GRADIENT = operator.attrgetter("requires_grad")
_SETTINGS = operator.attrgetter("training", "momentum", "eps")


@dataclass(frozen=True)
class Row:
    """Parts one after another."""

    parts: tuple[Part, ...]
    # The number of tensors that each part kept in a run.
    lengths: list[int] = field(default_factory=list)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return those of all parts, in order."""
        return tuple(parameter for part in self.parts for parameter in part.parameters)

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        owned = cut(parameters, [len(part.parameters) for part in self.parts])
        kept: list[Tensor] = []
        self.lengths.clear()
        for part, own in zip(self.parts, owned, strict=True):
            before = x
            x, found = part.run(before, own)
            kept += [before, *found]
            self.lengths.append(1 + len(found))
        return x, kept

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor | None, list[Tensor]]:
        """See ``Part``."""
        owned = cut(parameters, [len(part.parameters) for part in self.parts])
        found: list[Tensor] = []
        above: Tensor | None = grad
        for part, own, saved in reversed(
            list(zip(self.parts, owned, cut(kept, self.lengths), strict=True))
        ):
            assert above is not None
            above, more = part.run_back(above, saved[0], saved[1:], own)
            found = [*more, *found]
        return above, found


def row_of(model: GhostNetV3, x: Tensor) -> Row | None:
    """Return the part of a whole network for images like ``x`` ``(N, C, H, W)``.

    ``None`` where there is none: ``model`` computes a layer in another way, is not in training, is
    partly frozen, has hooks or draws random numbers.
    """
    if not usable(x) or not _is_plain(model):
        return None
    if has_hooks(model) or not all(parameter.requires_grad for parameter in model.parameters()):
        return None
    images, size = x, _size(x)
    stem = chain_of((model.stem,), x, size, chains.RELU)
    parts: list[Part | None] = [stem]
    channels = model.stem.conv.out_channels
    for block in model.blocks:
        assert isinstance(block, GhostBottleneck)
        images = _like(x, channels, size)
        part = bottleneck_of(block, images)
        if part is None:
            return None
        parts.append(part)
        channels, size = block.ghost2.out_channels, part.size
    parts.append(chain_of((model.last,), _like(x, channels, size), size, chains.RELU))
    parts.append(head_of(model, _like(x, model.num_features, size)))
    whole = [part for part in parts if part is not None]
    return Row(tuple(whole)) if len(whole) == len(parts) else None


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


def _like(x: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Return images like ``x`` of other channels and size, with any values."""
    return x.new_empty((len(x), *size, channels)).permute(0, 3, 1, 2)


def _is_plain(model: GhostNetV3) -> bool:
    """Return whether all of ``model`` is computed by the kernels, called by nobody else."""
    ways: list[tuple[object, object]] = [
        (model.compute_head, fused_head),
        # A folded network has plain convolutions there, which have no choice.
        *((getattr(layer, "compute", None), chained) for layer in (model.stem, model.last)),
        *((block.compute, fused_bottleneck) for block in model.blocks),
    ]
    return (
        model.training
        and not model.grad_checkpointing
        and all(way is fast for way, fast in ways)
        and not any(block.drop_path for block in model.blocks)
    )


def _hooks(module: nn.Module) -> tuple[Mapping[int, Any], ...]:
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


def has_hooks(model: nn.Module) -> bool:
    """Return whether a part of ``model`` must be called for its hooks."""
    return any(hooks for module in model.modules() for hooks in _hooks(module))


class ReplayedNetwork:
    """The training form of a network for images of one shape, each way one call of C.

    ``run`` returns the logits ``(N, K)`` of images ``(N, C, H, W)``, and updates the running
    statistics; ``run_back`` takes the gradient of the logits and sets that of each parameter.
    Both are overwritten by the next run. Raises ``NotRecordableError`` where a part of the network
    computes something by PyTorch's operations.
    """

    def __init__(self, model: GhostNetV3, row: Row, x: Tensor) -> None:
        self.model, self.shape = model, x.shape
        self.parameters = row.parameters
        self.x = _like(x, x.shape[1], _size(x)).permute(0, 2, 3, 1)
        recording = Recording(x.dtype)
        with recording:
            out, kept = row.run(self.x, self.parameters)
            middle = len(recording.calls)
            above = torch.empty_like(out)
            _, found = row.run_back(above, self.x, kept, self.parameters)
            numbers = [recording.keep(tensor) for tensor in (out, above, *found)]
        replay = Replay(recording)
        made = [
            replay.tensor(number, tensor)
            for number, tensor in zip(numbers, (out, above, *found), strict=True)
        ]
        self.out, self.above, self.gradients = made[0].flatten(1), made[1].flatten(1), made[2:]
        self._forward = replay.runner(0, middle)
        self._back = replay.runner(middle, len(recording.calls))
        modules = list(model.modules())
        self._tensors = [kept for m in modules for kept in (m._parameters, m._buffers) if kept]
        self._modules = [module._modules for module in modules if module._modules]
        self._norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self._hooks = [kept for module in modules for kept in _hooks(module)]
        self._state = self._now()

    def fits(self, x: Tensor) -> bool:
        """Return whether ``x`` has the shape, and the network is as it was when it was listed."""
        return x.shape == self.shape and self._now() == self._state

    def run(self, x: Tensor) -> Tensor:
        """Return the logits."""
        pixels = pixels_of(x)
        # PyTorch's copy may wait for threads that another process holds up.
        ctypes.memmove(self.x.data_ptr(), pixels.data_ptr(), pixels.nbytes)
        self._forward()
        return self.out.detach()

    def run_back(self, above: Tensor) -> None:
        """Set the gradients from that of the logits."""
        self.above.copy_(above)
        self._back()
        if not all(map(operator.is_, map(_GRADIENT, self.parameters), self.gradients)):
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
                parameter.grad = gradient

    def _now(self) -> list[object]:
        """Return what the list depends on: places in memory, and settings."""
        return [
            _is_plain(self.model),
            self.model.drop_rate,
            self.model.global_pool,
            any(self._hooks),
            [id(module) for kept in self._modules for module in kept.values()],
            [t.data_ptr() for kept in self._tensors for t in kept.values() if t is not None],
            list(map(_NEEDS_GRADIENT, self.parameters)),
            list(map(_SETTINGS, self._norms)),
        ]


def replayed(model: nn.Module, x: Tensor) -> ReplayedNetwork | None:
    """Return the passes of ``model`` for images like ``x`` ``(N, C, H, W)``, ready to be replayed.

    ``None`` where they cannot be: see ``row_of``; where a part computes something beside kernels;
    and of other networks than those of ghost bottlenecks.
    """
    if not is_of_ghosts(model):
        return None
    row = row_of(model, x)
    if row is None:
        return None
    try:
        return ReplayedNetwork(model, row, x)
    except NotRecordableError as error:
        _log.debug("steps are not replayed: %s", error)
        return None
