"""The steps of the generated code, and the places of its maps in the working memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import is_of_ghosts
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.nn.ghost import GhostBottleneck, GhostModule, SqueezeExcite, is_halved


@dataclass(eq=False)
class Map:
    """A feature map of one image; each step that makes one makes a new one.

    ``wide``: a map of few channels between two blocks, which int8 code keeps in more bits.
    """

    name: str
    channels: int
    height: int
    width: int
    wide: bool = True

    @property
    def pixels(self) -> int:
        """The number of pixels of one channel."""
        return self.height * self.width


@dataclass(frozen=True)
class Step:
    """One operator: ``source`` is read, ``target`` written."""

    name: str
    source: Map
    target: Map

    @property
    def maps(self) -> tuple[Map, ...]:
        """The maps that must be in memory while it runs."""
        return (self.source, self.target)


@dataclass(frozen=True)
class Stem(Step):
    """The 3x3 convolution of the image, with ReLU."""

    conv: nn.Conv2d


@dataclass(frozen=True)
class Point(Step):
    """A 1x1 convolution into the first channels of ``target``."""

    conv: nn.Conv2d
    relu: bool


@dataclass(frozen=True)
class Depth(Step):
    """A depth-wise convolution. Within one map it makes the second half of the first; ``add`` is
    added to the whole map then."""

    conv: nn.Conv2d
    relu: bool = False
    add: Map | None = None

    @property
    def maps(self) -> tuple[Map, ...]:
        return (*super().maps, *([self.add] if self.add else []))


@dataclass(frozen=True)
class Pool(Step):
    """The mean of 2x2 pixels."""


@dataclass(frozen=True)
class Gate(Step):
    """``target`` times the sigmoid of two convolutions of ``source``, stretched to its size."""

    horizontal: nn.Conv2d
    vertical: nn.Conv2d


@dataclass(frozen=True)
class Squeeze(Step):
    """Squeeze and excitation of ``target``, which is ``source``."""

    part: SqueezeExcite


@dataclass(frozen=True)
class Head(Step):
    """Mean over space, two linear layers with a ReLU between; ``target`` are the logits."""

    head: nn.Conv2d
    classifier: nn.Linear


@dataclass(frozen=True)
class Plan:
    """The steps in order; the first reads ``picture``, the last writes ``logits``."""

    steps: tuple[Step, ...]
    picture: Map
    logits: Map


def plan_of(network: nn.Module, size: tuple[int, int]) -> Plan:
    """Return the steps of a folded ``GhostNetV3`` for images of ``size`` (height, width).

    Raises ``InputError`` for another network, or one that is not folded.
    """
    if not is_of_ghosts(network) or not isinstance(network.classifier, nn.Linear):
        name = getattr(network, "config", {}).get("architecture") or type(network).__name__
        raise InputError(
            f"formats c and litert know ghostnetv3_small and ghostnetv3, not {name}; choose "
            "another format, such as onnx"
        )
    if not is_folded(network):
        raise InputError("the network is not folded; fold it before it is written as C")
    picture = Map("picture", _conv(network.stem).in_channels, *size, wide=False)
    logits = Map("logits", network.num_classes, 1, 1)
    steps: list[Step] = []
    x = Map("stem", _conv(network.stem).out_channels, *size)
    steps.append(Stem("stem", picture, x, _conv(network.stem)))
    for number, block in enumerate(network.blocks):
        assert isinstance(block, GhostBottleneck)
        made = list(_bottleneck(block, x, f"blocks.{number}"))
        steps += made
        x = made[-1].target
    last = Map("last", network.num_features, x.height, x.width, wide=False)
    steps.append(Point("last", x, last, _conv(network.last), relu=True))
    steps.append(Head("head", last, logits, network.head, network.classifier))
    return Plan(tuple(steps), picture, logits)


def _bottleneck(block: GhostBottleneck, x: Map, name: str) -> Iterator[Step]:
    stride = block.downsample.stride[0] if isinstance(block.downsample, nn.Conv2d) else 1
    shortcut = x
    # First, for of stride 2 its result takes less memory than ``x`` beside what follows.
    if isinstance(block.shortcut, nn.Sequential):
        depth, point = map(_conv, block.shortcut)
        across = Map(f"{name}.shortcut.0", x.channels, *_strided(x, stride))
        shortcut = Map(f"{name}.shortcut.1", point.out_channels, across.height, across.width)
        yield Depth(f"{name}.shortcut.0", x, across, depth)
        yield Point(f"{name}.shortcut.1", across, shortcut, point, relu=False)
    hidden = Map(f"{name}.ghost1", block.ghost1.out_channels, x.height, x.width, wide=False)
    yield from _ghost(block.ghost1, x, hidden, f"{name}.ghost1")
    if isinstance(block.downsample, nn.Conv2d):
        half = Map(f"{name}.downsample", hidden.channels, *_strided(x, stride), wide=False)
        yield Depth(f"{name}.downsample", hidden, half, block.downsample)
        hidden = half
    if isinstance(block.se, SqueezeExcite):
        yield Squeeze(f"{name}.se", hidden, hidden, block.se)
    out = Map(name, block.ghost2.out_channels, hidden.height, hidden.width)
    yield from _ghost(block.ghost2, hidden, out, f"{name}.ghost2", add=shortcut)


def _ghost(
    ghost: GhostModule, x: Map, out: Map, name: str, add: Map | None = None
) -> Iterator[Step]:
    gate: Map | None = None
    if ghost.gate is not None:
        source = x
        if is_halved(x.height, x.width):
            source = Map(f"{name}.gate.pool", x.channels, x.height // 2, x.width // 2)
            yield Pool(f"{name}.gate.pool", x, source)
        project = _conv(ghost.gate.project)
        size = (source.height, source.width)
        gate = Map(f"{name}.gate.project", project.out_channels, *size, wide=False)
        yield Point(f"{name}.gate.project", source, gate, project, relu=False)
    relu = isinstance(ghost.act, nn.ReLU)
    yield Point(f"{name}.primary", x, out, _conv(ghost.primary), relu=relu)
    yield Depth(f"{name}.cheap", out, out, _conv(ghost.cheap), relu=relu, add=add)
    if gate is not None:
        assert ghost.gate is not None
        horizontal, vertical = _conv(ghost.gate.horizontal), _conv(ghost.gate.vertical)
        yield Gate(f"{name}.gate", gate, out, horizontal, vertical)


def _conv(module: nn.Module) -> nn.Conv2d:
    assert isinstance(module, nn.Conv2d)
    return module


def _strided(x: Map, stride: int) -> tuple[int, int]:
    return -(-x.height // stride), -(-x.width // stride)


def lifetimes(steps: Sequence[Step]) -> dict[Map, tuple[int, int]]:
    """Return for each map the numbers of the first and the last step that need it."""
    found: dict[Map, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for part in step.maps:
            found[part] = (found.get(part, (number, 0))[0], number)
    return found


@dataclass(frozen=True)
class Block:
    """Memory of ``size`` that is needed from the step ``first`` to the step ``last``; of it, what
    comes from ``half`` on is needed only from the step ``late`` on."""

    size: int
    first: int
    last: int
    half: int = 0
    late: int = 0

    @property
    def pieces(self) -> tuple[tuple[int, int, int], ...]:
        """Return where its one or two pieces begin and end, and the first step that needs each."""
        half = min(self.half, self.size)
        return (0, half, self.first), (half, self.size, max(self.first, self.late))


def place_maps(
    steps: Sequence[Step],
    elsewhere: Collection[Map],
    room: Callable[[Map], int],
    half: Callable[[Map, int], int],
    scratch: Callable[[Step], int],
) -> tuple[dict[Map | int, int], int]:
    """Return the offsets of all maps but those ``elsewhere``, and of each step's scratch memory by
    the step's number; and the memory that they need in all.

    ``room`` and ``scratch`` return sizes; ``half``, for a map and the channels of the first half of
    one that is made in halves, where the memory ends that the first step writes.
    """
    blocks: dict[Map | int, Block] = {
        part: Block(room(part), *life)
        for part, life in lifetimes(steps).items()
        if part not in elsewhere
    }
    for number, step in enumerate(steps):
        if isinstance(step, Depth) and step.source is step.target:
            end = half(step.target, step.conv.out_channels)
            blocks[step.target] = replace(blocks[step.target], half=end, late=number)
    blocks |= {k: Block(scratch(step), k, k) for k, step in enumerate(steps)}
    offsets, total = place(list(blocks.values()))
    return dict(zip(blocks, offsets, strict=True)), total


def place(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Return the blocks' offsets, and the memory that they need in all.

    Pieces that are needed at the same time never overlap. The largest blocks are placed first,
    each as low as it fits.
    """
    offsets = [0] * len(blocks)
    placed: list[tuple[int, int, int, int]] = []
    for row in sorted(range(len(blocks)), key=lambda k: (-blocks[k].size, k)):
        block = blocks[row]
        # Places that are taken: the block's offset is below the one number, or not below the other.
        taken = sorted(
            (start - end_of, end - start_of)
            for start_of, end_of, since in block.pieces
            for start, end, first, last in placed
            if first <= block.last and since <= last and start_of < end_of
        )
        at = 0
        for below, above in taken:
            if at <= below:
                break
            at = max(at, above)
        offsets[row] = at
        placed += [
            (at + start, at + end, since, block.last)
            for start, end, since in block.pieces
            if start < end
        ]
    return offsets, max((o + b.size for o, b in zip(offsets, blocks, strict=True)), default=0)
