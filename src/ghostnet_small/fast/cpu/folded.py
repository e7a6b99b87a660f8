"""The feature map of a folded network by the C kernels, listed once for a shape and replayed."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.branch_folding import is_depthwise, is_pointwise
from ghostnet_small.fast.cpu.conv_chain import is_of_windows
from ghostnet_small.fast.cpu.ghost import stretched, usable
from ghostnet_small.fast.cpu.kernels import convolutions, ghosts
from ghostnet_small.fast.cpu.kernels.chains import CHAIN_SIZES
from ghostnet_small.fast.cpu.kernels.elementwise import sigmoid
from ghostnet_small.fast.cpu.kernels.ghosts import Gate
from ghostnet_small.fast.cpu.network import has_hooks
from ghostnet_small.fast.cpu.recording import Recording, Replay
from ghostnet_small.models.ghostnetv3 import GhostNetV3, features_by_parts, is_of_ghosts
from ghostnet_small.nn.ghost import (
    AttentionGate,
    GhostBottleneck,
    GhostModule,
    SqueezeExcite,
    is_halved,
)

Size = tuple[int, int]
Layer = Callable[[Tensor], Tensor]
"""A function from contiguous images ``(N, H, W, C)`` to contiguous images, by kernels only."""
# Shapes that are kept listed for a network; a set's last batch is a second one.
SHAPES = 4
# One for each network; not stored on the network, whose copies would share it.
_made: WeakKeyDictionary[nn.Module, _Folded] = WeakKeyDictionary()


def folded_features(model: GhostNetV3, x: Tensor) -> Tensor:
    """Compute ``features_by_parts(model, x)`` of a folded network where the C kernels can.

    They serve evaluation without gradients, of images in channels_last memory.
    """
    # What traces or exports a network gives something else than plain tensors.
    traced = type(x) is not Tensor or torch.jit.is_tracing()
    if traced or model.training or torch.is_grad_enabled() or not usable(x) or has_hooks(model):
        return features_by_parts(model, x)
    if any(weight.is_inference() for weight in model.parameters()):
        # Nothing tells whether such weights were written since.
        return features_by_parts(model, x)
    made = _made.get(model)
    if made is None or not made.fits(model, x):
        made = _made[model] = _Folded(model, x)
    out = made(x)
    return features_by_parts(model, x) if out is None else out


class _Folded:
    """The kernels' form of a folded network, and the lists for the last few shapes."""

    @torch.inference_mode(False)  # An inference tensor could not be written in later calls.
    def __init__(self, model: GhostNetV3, x: Tensor) -> None:
        self.dtype, self.state = x.dtype, _state(model)
        # As long as they live, nothing else can have their addresses.
        self.weights = [weight.detach() for weight in model.parameters()]
        try:
            self.layer: Callable[[Size], Layer] | None = _network(model, x.dtype)
        except _NotServedError:
            self.layer = None
        self.listed: dict[torch.Size, tuple[Tensor, Tensor, Callable[[], None]]] = {}

    def fits(self, model: GhostNetV3, x: Tensor) -> bool:
        """Return whether ``model`` still has the weights that were read."""
        return x.dtype == self.dtype and _state(model) == self.state

    def __call__(self, x: Tensor) -> Tensor | None:
        """Return the feature map ``(N, F, h, w)``; ``None`` where the kernels do not serve it."""
        if self.layer is None:
            return None
        if x.shape not in self.listed:
            while len(self.listed) >= SHAPES:
                self.listed.pop(next(iter(self.listed)))
            self.listed[x.shape] = self._list(self.layer((x.shape[2], x.shape[3])), x)
        images, out, run = self.listed[x.shape]
        images.copy_(x.permute(0, 2, 3, 1))
        run()
        return out.permute(0, 3, 1, 2).clone()

    @torch.inference_mode(False)
    def _list(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor, Callable[[], None]]:
        n, c, h, w = x.shape
        images = torch.empty(n, h, w, c, dtype=x.dtype)
        recording = Recording(x.dtype)
        with recording:
            out = layer(images)
            number = recording.keep(out)
        replay = Replay(recording)
        return images, replay.tensor(number, out), replay.runner(0, len(recording.calls))


def _state(model: GhostNetV3) -> list[tuple[int, int]]:
    """Return where the weights are, and how often each was written."""
    return [(weight.data_ptr(), weight._version) for weight in model.parameters()]


class _NotServedError(Exception):
    """A layer that the kernels do not compute."""


def _network(model: GhostNetV3, dtype: torch.dtype) -> Callable[[Size], Layer]:
    """Return the feature map of ``model`` as a function of the images' size.

    Weights are read now, in the order in which the kernels take them.
    """
    if not is_of_ghosts(model) or any(p.dtype != dtype for p in model.parameters()):
        raise _NotServedError
    stem, last = _conv(model.stem, relu=True), _conv(model.last, relu=True)
    blocks = [_bottleneck(block) for block in model.blocks if isinstance(block, GhostBottleneck)]

    def at(size: Size) -> Layer:
        layers = [stem]
        for block in blocks:
            layer, size = block(size)
            layers.append(layer)
        return _row([*layers, last])

    return at


def _row(layers: list[Layer]) -> Layer:
    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _conv(conv: nn.Module, *, relu: bool = False) -> Layer:
    """Return a convolution with bias, and perhaps its ReLU."""
    weight, bias = _read(conv)
    assert isinstance(conv, nn.Conv2d)
    size, stride = (conv.kernel_size[0], conv.kernel_size[1]), conv.stride[0]
    if is_pointwise(conv):
        matrix = weight.flatten(1).t().contiguous()
        return lambda x: convolutions.pointwise_images(x, matrix, bias, relu=relu)
    if is_depthwise(conv) and size in CHAIN_SIZES:
        taps = weight.flatten(1).contiguous()
        return lambda x: convolutions.depthwise_images(x, size, stride, taps, bias, relu=relu)
    if is_of_windows(conv):
        windows = weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).contiguous()
        return lambda x: convolutions.windows(x, size, windows, bias, relu=relu)
    raise _NotServedError


def _read(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a folded convolution."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is None:
        raise _NotServedError
    return conv.weight.detach(), conv.bias.detach()


def _gate(gate: AttentionGate, size: Size) -> Callable[[Tensor], Gate]:
    row = _row([_conv(layer) for layer in gate.layers])
    halves = is_halved(*size)
    places = stretched((size[0] // 2, size[1] // 2) if halves else size, size)
    return lambda x: Gate(sigmoid(row(ghosts.halve(x) if halves else x)), *places)


def _ghost(ghost: GhostModule) -> Callable[[Size], Callable[[Tensor, Tensor | None], Tensor]]:
    """Return the module as a function of the size, then of images and of what is added to them."""
    if ghost.out_channels % 2:
        raise _NotServedError
    relu = isinstance(ghost.act, nn.ReLU)
    (weight, bias), (taps, shift) = _read(ghost.primary), _read(ghost.cheap)
    matrix, kernel = weight.flatten(1).t().contiguous(), taps.flatten(1).contiguous()

    def at(size: Size) -> Callable[[Tensor, Tensor | None], Tensor]:
        gate = None if ghost.gate is None else _gate(ghost.gate, size)

        def run(x: Tensor, add: Tensor | None) -> Tensor:
            both = x.new_empty(*x.shape[:3], ghost.out_channels)
            convolutions.pointwise_images(x, matrix, bias, relu=relu, out=both)
            of_gate = None if gate is None else gate(x)
            return ghosts.ghost_cheap(both, kernel, shift, of_gate, add, relu=relu)

        return run

    return at


def _bottleneck(block: GhostBottleneck) -> Callable[[Size], tuple[Layer, Size]]:
    first, last = _ghost(block.ghost1), _ghost(block.ghost2)
    between: list[Layer] = []
    down: nn.Module = block.downsample
    stride = down.stride[0] if isinstance(down, nn.Conv2d) else 1
    if not isinstance(down, nn.Identity):
        between.append(_conv(down))
    if isinstance(block.se, SqueezeExcite):
        between.append(_squeeze(block.se))
    middle = _row(between)
    shortcut = block.shortcut
    layers = list(shortcut) if isinstance(shortcut, nn.Sequential) else []
    beside = _row([_conv(layer) for layer in layers])

    def at(size: Size) -> tuple[Layer, Size]:
        end = ((size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1)
        one, two = first(size), last(end)
        return lambda x: two(middle(one(x, None)), beside(x)), end

    return at


def _squeeze(part: SqueezeExcite) -> Layer:
    if part.reduce.bias is None or part.expand.bias is None:
        raise _NotServedError
    reduce, less = part.reduce.weight.detach().flatten(1), part.reduce.bias.detach()
    expand, more = part.expand.weight.detach().flatten(1), part.expand.bias.detach()
    return lambda x: ghosts.squeeze_excite(x, reduce, less, expand, more)[0]
