"""The plan as C code in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ghostnet_small.deploy.c.packing import nearest, pack_channels, pack_fours, pack_sixteens
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
    place_maps,
)
from ghostnet_small.deploy.c.text import Code, Table, numbers

# Floats that a plane is rounded up to, so that vectors may run over its end.
ROUND = 16
FLOAT = 4  # bytes


def write_float(plan: Plan, *, pixels: tuple[Sequence[float], Sequence[float]] | None) -> Code:
    """Return the tables and the body of ``ghostnet_run``; ``pixels``: scale and shift of the
    channels where uint8 goes in and probabilities come out."""
    writer = _Writer(plan, pixels is not None)
    source = "picture"
    if pixels is not None:
        writer.table("normalization", [v for pair in zip(*pixels, strict=True) for v in pair])
        source = writer.at(plan.picture)
        area = plan.picture.pixels
        writer.lines.append(
            f"gns_normalize(picture, {plan.picture.channels}, {area}, normalization, {source});"
        )
    for number, step in enumerate(plan.steps):
        writer.step(number, step, source)
    if pixels is not None:
        writer.lines.append(f"gns_softmax(answers, {plan.logits.channels});")
    return Code(
        instances=sorted(writer.instances),
        tables=writer.tables,
        lines=writer.lines,
        kind="float",
        memory_bytes=FLOAT * writer.total,
    )


class _Writer:
    def __init__(self, plan: Plan, pixels: bool) -> None:
        self.tables: list[Table] = []
        self.lines: list[str] = []
        self.instances: set[str] = set()
        # The caller owns a normalised image and the answers.
        elsewhere = (plan.logits, *(() if pixels else (plan.picture,)))
        self.offsets, self.total = place_maps(
            plan.steps,
            elsewhere,
            _room,
            lambda part, channels: _up(channels, 4) * _plane(part),
            _scratch,
        )

    def at(self, part: Map | int, plane: int = 0) -> str:
        offset = self.offsets[part]
        if plane:
            assert isinstance(part, Map)
            offset += plane * _plane(part)
        return f"memory + {offset}" if offset else "memory"

    def table(self, name: str, values: Sequence[float] | Tensor) -> str:
        flat = torch.as_tensor(values).flatten().tolist()
        self.tables.append(Table("float", name, " ".join(numbers(flat))))
        return name

    def step(self, number: int, step: Step, picture: str) -> None:
        name = step.name.replace(".", "_")
        source, target = step.source, step.target
        h, w, area = target.height, target.width, _plane(target)
        scratch = self.at(number)
        match step:
            case Stem(conv=conv):
                table = self.table(name, pack_fours(conv))
                blocks = -(-conv.out_channels // 4)
                call = (
                    f"gns_stem({picture}, {source.channels}, {h}, {w}, {self.at(target)}, "
                    f"{blocks}, {area}, {table}, {scratch})"
                )
            case Point(conv=conv, relu=relu):
                table = self.table(name, pack_fours(conv))
                blocks = -(-conv.out_channels // 4)
                call = (
                    f"gns_point({self.at(source)}, {source.channels}, {self.at(target)}, {blocks}, "
                    f"{area}, {table}, {int(relu)})"
                )
            case Depth(conv=conv, relu=relu, add=add):
                table = self.table(name, pack_channels(conv))
                kernel, channels = conv.kernel_size[0], conv.out_channels
                out = self.at(target, channels if source is target else 0)
                half = conv.stride[0] == 2
                self.instances.add(f"GNS_DEPTHS{'_HALF' if half else ''}({kernel})")
                if half:
                    call = (
                        f"gns_depth{kernel}_half({self.at(source)}, {source.height}, "
                        f"{source.width}, {_plane(source)}, {out}, {channels}, {h}, {w}, {area}, "
                        f"{table}, {scratch})"
                    )
                else:
                    more = self.at(add) if add else "0"
                    call = (
                        f"gns_depth{kernel}({self.at(source)}, {out}, {channels}, {h}, {w}, "
                        f"{area}, {table}, {int(relu)}, {more}, {scratch})"
                    )
            case Pool():
                call = (
                    f"gns_pool({self.at(source)}, {source.channels}, {source.width}, "
                    f"{_plane(source)}, {self.at(target)}, {h}, {w}, {area})"
                )
            case Gate(horizontal=horizontal, vertical=vertical):
                both = torch.cat((pack_channels(horizontal), pack_channels(vertical)), 1)
                table = self.table(name, both)
                rows = self.stretch(f"{name}_rows", source.height, h)
                columns = self.stretch(f"{name}_columns", source.width, w)
                call = (
                    f"gns_gate({self.at(source)}, {source.height}, {source.width}, "
                    f"{_plane(source)}, {self.at(target)}, {target.channels}, {h}, {w}, {area}, "
                    f"{rows}, {columns}, {table}, {scratch})"
                )
            case Squeeze(part=part):
                reduce = self.table(f"{name}_reduce", pack_sixteens(part.reduce))
                expand = self.table(f"{name}_expand", pack_sixteens(part.expand))
                call = (
                    f"gns_squeeze({self.at(target)}, {target.channels}, {target.pixels}, {area}, "
                    f"{part.reduce.out_channels}, {reduce}, {expand}, {scratch})"
                )
            case Head(head=head, classifier=classifier):
                first = self.table(name, pack_sixteens(head))
                second = self.table("classifier", pack_sixteens(classifier))
                call = (
                    f"gns_head({self.at(source)}, {source.channels}, {source.pixels}, "
                    f"{_plane(source)}, {head.out_channels}, {target.channels}, {first}, {second}, "
                    f"answers, {scratch})"
                )
            case _:
                raise AssertionError(step)
        self.lines.append(f"{call};")

    def stretch(self, name: str, size: int, stretched: int) -> str:
        found = map(str, nearest(size, stretched))
        self.tables.append(Table("unsigned char", name, " ".join(found), places=True))
        return name


def _plane(part: Map) -> int:
    return _up(part.pixels)


def _room(part: Map) -> int:
    # The image has no room between its planes. Groups of four outputs are complete.
    return (
        part.channels * part.pixels
        if part.name == "picture"
        else _up(part.channels, 4) * _plane(part)
    )


def _scratch(step: Step) -> int:
    """Return the number of floats that a step needs beside its maps."""
    source, target = step.source, step.target
    need = 0
    if isinstance(step, Stem):
        need = source.channels * (source.height + 2) * (source.width + 2)
    elif isinstance(step, Depth):
        kernel, stride = step.conv.kernel_size[0], step.conv.stride[0]
        edge = kernel // 2
        if stride == 2:
            need = 2 * (source.height + 2 * edge + 1) * (target.width + edge + 1)
        else:
            need = (source.height + 2 * edge) * (source.width + 2 * edge)
    elif isinstance(step, Gate):
        stride = source.width + 2
        need = 3 * (source.height * stride + 4 + ROUND) + 4 * stride
    elif isinstance(step, Squeeze):
        need = _up(target.channels) + _up(step.part.reduce.out_channels)
    elif isinstance(step, Head):
        features = _up(step.head.out_channels)
        need = _up(source.channels) + features + _up(target.channels)
    return _up(need)


def _up(count: int, multiple: int = ROUND) -> int:
    return -(-count // multiple) * multiple
