"""The quantised plan as C code.

Channels lie in groups of four bytes: four channels of a narrow map, two of a wide one. Both halves
of a map's channels begin with a group, because a ghost module makes the second from the first: its
places are ``slots``, some of them empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ghostnet_small.deploy.c.grids import Grid
from ghostnet_small.deploy.c.packing import (
    EMPTY,
    GROUP,
    nearest,
    pack_dense,
    pack_depth,
    pack_line,
    pack_linear,
    spread,
)
from ghostnet_small.deploy.c.plan import (
    Depth,
    Gate,
    Head,
    Map,
    Plan,
    Point,
    Pool,
    Squeeze,
    Stem,
    Step,
    lifetimes,
    place,
)
from ghostnet_small.deploy.c.quantize import Layer, Quantized
from ghostnet_small.deploy.c.text import Code, Table, numbers

# Bytes of a pixel's group.
PIXEL = 4
# Bytes that a vector may read or write beyond the end of what a step works in.
SLACK = 128


def slots(part: Map) -> list[int]:
    """Return the channel in each place of a map, ``EMPTY`` where there is none."""
    channels, side = part.channels, _side(part)
    if channels % 2:
        return _filled(range(channels), side)
    half = channels // 2
    return _filled(range(half), side) + _filled(range(half, channels), side)


def _filled(channels: Sequence[int], side: int) -> list[int]:
    return [*channels, *[EMPTY] * (-len(channels) % side)]


def _side(part: Map) -> int:
    """Channels that lie side by side."""
    return GROUP // 2 if part.wide else GROUP


def _groups(part: Map) -> int:
    return len(slots(part)) // _side(part)


def write_int8(plan: Plan, steps: Sequence[Quantized], grid: Grid, *, pixels: bool) -> Code:
    """Return the tables and the body of ``ghostnet_run``, before equal tables are ``shared``;
    ``grid`` is that of the image."""
    writer = _Writer(plan)
    channels, area = plan.picture.channels, plan.picture.pixels
    if pixels:
        writer.lines.append(
            f"gns_in_fours(picture, {channels}, {area}, {writer.at(plan.picture)});"
        )
    else:
        table = torch.stack((1 / grid.scale, grid.zero), 1)
        name = writer.floats("normalization", table)
        writer.lines.append(
            f"gns_to_pixels(picture, {channels}, {area}, {name}, {writer.at(plan.picture)});"
        )
    for number, step in enumerate(steps):
        writer.step(number, step)
    if pixels:
        writer.lines.append(f"gns_softmax(answers, {plan.logits.channels});")
    return Code(
        instances=sorted(writer.instances),
        tables=writer.tables,
        lines=writer.lines,
        kind="gns_byte",
        memory_bytes=writer.total,
    )


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.tables: list[Table] = []
        self.lines: list[str] = []
        self.instances: set[str] = set()
        lives = lifetimes(plan.steps)
        del lives[plan.logits]
        blocks: list[Map | int] = [*lives, *range(len(plan.steps))]
        sizes = [(_up(_bytes(part)), *lives[part]) for part in lives]
        sizes += [(_up(sum(_scratch(step))), k, k) for k, step in enumerate(plan.steps)]
        offsets, self.total = place(sizes)
        self.offsets = dict(zip(blocks, offsets, strict=True))

    def at(self, part: Map | int, more: int = 0) -> str:
        offset = self.offsets[part] + more
        return f"memory + {offset}" if offset else "memory"

    def typed(self, kind: str, number: int, more: int = 0) -> str:
        return f"({kind} *)(void *)({self.at(number, more)})"

    def floats(self, name: str, values: Tensor) -> str:
        return self.table("float", name, numbers(values.float().flatten().tolist()))

    def ints(self, name: str, values: Tensor) -> str:
        whole = values.round().to(torch.int64).flatten().tolist()
        return self.table("int", name, map(str, whole))

    def weights(self, name: str, values: Tensor) -> str:
        return self.table("gns_weight", name, map(str, values.flatten().tolist()))

    def bytes(self, name: str, values: Tensor) -> str:
        flat = values.round().to(torch.int64).flatten().tolist()
        return self.table("gns_byte", name, map(str, flat))

    def stretch(self, name: str, size: int, stretched: int) -> str:
        return self.table("gns_byte", name, map(str, nearest(size, stretched)), places=True)

    def table(self, kind: str, name: str, values: Iterable[str], *, places: bool = False) -> str:
        self.tables.append(Table(kind, name, " ".join(values), places))
        return name

    def step(self, number: int, made: Quantized) -> None:
        step = made.step
        name = step.name.replace(".", "_")
        source, target = step.source, step.target
        match step:
            case Stem():
                call = self.stem(number, made, name)
            case Point(conv=conv):
                (layer,) = made.layers
                whole = conv.out_channels == target.channels
                # Outputs come in fours; the second half of a ghost overwrites the surplus of the
                # first.
                outputs = slots(target) if whole else list(range(conv.out_channels))
                outputs = _filled(outputs, GROUP)
                packed = pack_dense(layer.weight[..., None], outputs, slots(source), _side(source))
                kinds = f"{1 + source.wide}, {1 + target.wide}"
                self.instances.add(f"GNS_POINTS({kinds})")
                tables = [
                    self.weights(name, packed),
                    *self.rounding(name, layer, made.target, outputs),
                ]
                call = (
                    f"gns_point_{kinds.replace(', ', '_')}({self.at(source)}, {_groups(source)}, "
                    f"{_group(source)}, {self.at(target)}, {len(outputs) // GROUP}, "
                    f"{_group(target)}, {target.pixels}, {', '.join(tables)}, {self.at(number)})"
                )
            case Depth():
                call = self.depth(number, made, name)
            case Pool():
                call = (
                    f"gns_pool({self.at(source)}, {_groups(source)}, "
                    f"{source.height}, {source.width}, {self.at(target)}, {target.height}, "
                    f"{target.width})"
                )
            case Gate():
                call = self.gate(number, made, name)
            case Squeeze(part=part):
                places = slots(target)
                inner = list(range(part.reduce.out_channels))
                first, second = made.layers
                times = made.source.scale / made.target.scale / 6
                tables = [
                    *self.grid(name, made.source, places),
                    *self.linear(f"{name}_reduce", first, inner, places),
                    *self.linear(f"{name}_expand", second, places, inner),
                    self.floats(f"{name}_times", spread(times, places)),
                    self.bytes(f"{name}_zero", spread(made.target.zero, places)),
                ]
                floats, shorts = _scratch(step)
                assert shorts
                call = (
                    f"gns_squeeze({self.at(target)}, {len(places) // GROUP}, {target.pixels}, "
                    f"{len(inner)}, {', '.join(tables)}, {self.typed('float', number)}, "
                    f"{self.typed('short', number, floats)})"
                )
            case Head(head=head):
                places = slots(source)
                inner = _filled(range(head.out_channels), GROUP)
                first, second = made.layers
                tables = [
                    *self.grid(name, made.source, places),
                    *self.linear(name, first, inner, places),
                    *self.linear("classifier", second, list(range(target.channels)), inner),
                ]
                floats, _ = _scratch(step)
                call = (
                    f"gns_head({self.at(source)}, {len(places) // GROUP}, {source.pixels}, "
                    f"{len(inner)}, {target.channels}, {', '.join(tables)}, answers, "
                    f"{self.typed('float', number)}, {self.typed('short', number, floats)})"
                )
            case _:
                raise AssertionError(step)
        self.lines.append(f"{call};")

    def stem(self, number: int, made: Quantized, name: str) -> str:
        step = made.step
        assert isinstance(step, Stem)
        (layer,) = made.layers
        inputs, outputs = slots(step.source), _filled(slots(step.target), GROUP)
        packed = pack_dense(layer.weight.unflatten(1, (-1, 9)), outputs, inputs, GROUP)
        tables = [
            self.weights(name, packed),
            *self.rounding(name, layer, made.target, outputs),
            self.bytes(f"{name}_pad", spread(made.source.zero, inputs)),
        ]
        target = step.target
        return (
            f"gns_stem({self.at(step.source)}, {_groups(step.source)}, {target.height}, "
            f"{target.width}, {self.at(target)}, {len(outputs) // GROUP}, {', '.join(tables)}, "
            f"{self.at(number)})"
        )

    def depth(self, number: int, made: Quantized, name: str) -> str:
        step = made.step
        assert isinstance(step, Depth)
        (layer,) = made.layers
        conv, source, target = step.conv, step.source, step.target
        within, side = source is target, _side(source)
        channels = conv.out_channels
        places = _filled(range(channels), side) if within else slots(target)
        groups = len(places) // side
        kind = f"{conv.kernel_size[0]}, {conv.stride[0]}, {1 + source.wide}"
        self.instances.add(f"GNS_DEPTHS({kind})")
        second, add = made.target, "0"
        if step.add is not None:
            assert made.add is not None
            second = Grid(made.target.scale[channels:], torch.zeros(channels), wide=True)
            own = made.source.scale / made.target.scale[:channels]
            other = made.add.scale / made.target.scale
            about = [
                self.at(step.add),
                self.floats(f"{name}_own", spread(own, places)),
                self.floats(f"{name}_other", spread(other, slots(target))),
            ]
            add = f"&{name}_add"
            self.lines.append(f"const gns_add {name}_add = {{{', '.join(about)}}};")
        tables = [
            self.weights(name, pack_depth(layer.weight, places, side)),
            *self.rounding(name, layer, second, places),
            # Zeros surround the pairs.
            "0" if source.wide else self.bytes(f"{name}_pad", spread(made.source.zero, places)),
        ]
        out = self.at(target, groups * _group(target) if within else 0)
        return (
            f"gns_depth{kind.replace(', ', '_')}({self.at(source)}, {source.height}, "
            f"{source.width}, {out}, {groups}, {target.height}, {target.width}, "
            f"{', '.join(tables)}, {add}, {self.at(number)})"
        )

    def gate(self, number: int, made: Quantized, name: str) -> str:
        step = made.step
        assert isinstance(step, Gate) and made.add is not None and made.before is not None
        source, target = step.source, step.target
        places = slots(target)
        first, second = made.layers
        tables = [
            self.stretch(f"{name}_rows", source.height, target.height),
            self.stretch(f"{name}_columns", source.width, target.width),
            self.weights(f"{name}_across", pack_line(first.weight, places)),
            self.ints(f"{name}_across_bias", spread(first.bias, places)),
            self.floats(f"{name}_across_factor", spread(first.step / made.add.scale, places)),
            self.weights(f"{name}_down", pack_line(second.weight, places)),
            self.ints(f"{name}_down_bias", spread(second.bias, places)),
            self.floats(f"{name}_down_factor", spread(second.step, places)),
            self.bytes(f"{name}_pad", spread(made.source.zero, places)),
            self.bytes(f"{name}_mark", spread(made.before.zero, places)),
            self.floats(f"{name}_times", spread(made.before.scale / made.target.scale, places)),
            self.bytes(f"{name}_zero", spread(made.target.zero, places)),
        ]
        floats, _ = _scratch(step)
        lines = floats + _gate_shorts(source)
        return (
            f"gns_gate({self.at(source)}, {source.height}, {source.width}, {self.at(target)}, "
            f"{len(places) // GROUP}, {target.height}, {target.width}, {', '.join(tables)}, "
            f"{self.typed('short', number, floats)}, {self.typed('float', number)}, "
            f"{self.at(number, lines)})"
        )

    def rounding(
        self, name: str, layer: Layer, grid: Grid, places: Sequence[int]
    ) -> tuple[str, str, str]:
        """Tables of bias, factor and zero of a layer whose result is rounded to ``grid``."""
        return (
            self.ints(f"{name}_bias", spread(layer.bias, places)),
            self.floats(f"{name}_factor", spread(layer.step / grid.scale, places)),
            self.bytes(f"{name}_zero", spread(grid.zero, places)),
        )

    def grid(self, name: str, grid: Grid, places: Sequence[int]) -> list[str]:
        return [
            self.floats(f"{name}_scale", spread(grid.scale, places)),
            self.bytes(f"{name}_mark", spread(grid.zero, places)),
        ]

    def linear(
        self, name: str, layer: Layer, outputs: Sequence[int], inputs: Sequence[int]
    ) -> list[str]:
        return [
            self.weights(name, pack_linear(layer.weight, outputs, inputs)),
            self.floats(f"{name}_bias", spread(layer.bias, outputs)),
            self.floats(f"{name}_step", spread(layer.step, outputs)),
        ]


def _bytes(part: Map) -> int:
    groups = _groups(part)
    # Fours of outputs fill an even number of a wide map's groups.
    return (groups + groups % 2 if part.wide else groups) * PIXEL * part.pixels


def _group(part: Map) -> int:
    return PIXEL * part.pixels


def _scratch(step: Step) -> tuple[int, int]:
    """Return the bytes that a step needs beside its maps: float32, and the rest behind them."""
    source = step.source
    if isinstance(step, Stem):
        inputs = len(slots(source))
        padded = inputs * (source.height + 2) * (source.width + 2)
        pairs = _pairs(9 * _groups(source), step.conv.out_channels, wide=False)
        return 0, padded + 9 * inputs * source.width + SLACK + pairs
    if isinstance(step, Point):
        return 0, _pairs(_groups(source), step.conv.out_channels, wide=source.wide)
    if isinstance(step, Depth):
        edge = step.conv.kernel_size[0] // 2
        stride, rows = source.width + 2 * edge + 1, source.height + 2 * edge
        apart = 2 * ((stride + 1) // 2) * rows if step.conv.stride[0] == 2 else 0
        return 0, GROUP * (stride * rows + apart) + SLACK
    if isinstance(step, Gate):
        row = PIXEL * source.width
        count = row * source.height
        lines = source.height * (row + 4 * PIXEL) + SLACK
        return 4 * count + SLACK, _gate_shorts(source) + lines
    if isinstance(step, Squeeze | Head):
        first = len(slots(source))
        second = (step.part.reduce if isinstance(step, Squeeze) else step.head).out_channels
        return 4 * (first + second), 2 * max(first, second)
    return 0, 0


def _pairs(groups: int, outputs: int, *, wide: bool) -> int:
    """Return the bytes of a dense layer's weights, and of its inputs at two pixels, as pairs of 16
    bits, an even number of them, and of eight sums: small cores multiply those."""
    pairs = groups + groups % 2 if wide else 2 * groups
    # Outputs that are no channels fill their four.
    return 4 * (pairs * (4 * (-(-outputs // GROUP) + 1) + 2) + 8)


def _gate_shorts(source: Map) -> int:
    """Return the bytes that a gate keeps between its convolutions, 2 empty rows above and below."""
    row = PIXEL * source.width
    return 2 * row * (source.height + 4) + SLACK


def _up(count: int) -> int:
    # Every block of memory begins where a vector may.
    return -(-count // 64) * 64
