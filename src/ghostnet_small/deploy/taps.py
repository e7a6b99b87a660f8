"""The named places of a network's traced graph, at which numbers can be observed or rounded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ghostnet_small.errors import InputError

MOST_BATCH = 1 << 16
# Operations through which runtimes keep 8 bits, by the names that PyTorch's export gives.
LAYERS = ("conv2d", "linear")
OPERATIONS = (
    *LAYERS,
    "cat",
    "add",
    "mul",
    "div",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "mean",
    "sigmoid",
    "upsample",
)
# Those that pass numbers on unchanged: their output is rounded already.
PASSING = ("upsample",)
ACTIVATIONS = ("relu", "relu6", "clamp", "hardtanh")
Placed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Tap:
    """A tensor between operations; ``touching`` are the modules that make or take it."""

    name: str
    touching: tuple[str, ...]


class Taps(nn.Module):
    """A network, traced, that hands every place and every layer's weight to a function.

    A place is the input, or what an operation gives behind its activation. Its name is that of the
    layer's module, or that of the module and the operation: ``blocks.3.ghost1.primary``,
    ``blocks.3.ghost1.cat``, ``blocks.3.se.mean``, ``blocks.3.add``, ``input``.

    ``at`` holds the function for a place's tensor, ``weight_at`` that for a layer's weight, by
    those names; where a name is missing nothing happens. Parameters are shared with the
    network. ``network`` is in evaluation mode and takes ``(N, C, H, W)`` of ``size``.
    """

    def __init__(self, network: nn.Module, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.at: dict[str, Placed] = {}
        self.weight_at: dict[str, Placed] = {}
        self.places: list[Tap] = []
        self.layers: list[str] = []
        graph = _traced(network, channels, size)
        self._open(graph)
        self.graph = graph

    def forward(self, pictures: Tensor) -> Tensor:
        answers: Tensor = self.graph(pictures)
        return answers

    def weight(self, layer: str) -> nn.Parameter:
        """Return the weight of the layer of that name; the output's channels come first."""
        return self.graph.get_parameter(f"{layer}.weight")

    def _open(self, graph: fx.GraphModule) -> None:
        nodes = list(graph.graph.nodes)
        counted: dict[str, int] = {}
        for node in nodes:
            if node.op == "placeholder":
                self._place(graph, node, node, "input")
            elif (kind := operation_of(node)) and not _of_constant(node):
                module = module_of(node)
                if kind in LAYERS:
                    self._layer(graph, node, module)
                    name = module
                else:
                    name = f"{module}.{kind}" if module else kind
                counted[name] = counted.get(name, 0) + 1
                name = name if counted[name] == 1 else f"{name}_{counted[name]}"
                if kind not in PASSING:
                    self._place(graph, node, _behind_activation(node), name)
        graph.graph.lint()
        graph.recompile()

    def _layer(self, graph: fx.GraphModule, node: fx.Node, module: str) -> None:
        self.layers.append(module)
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        with graph.graph.inserting_before(node):
            changed = graph.graph.call_function(self._through_weight(module), (weight,))
        node.replace_input_with(weight, changed)

    def _place(self, graph: fx.GraphModule, first: fx.Node, last: fx.Node, name: str) -> None:
        users = list(last.users)
        touching = [module_of(node) for node in users if operation_of(node)]
        if operation_of(first):
            touching.append(module_of(first))
        self.places.append(Tap(name, tuple(dict.fromkeys(touching))))
        with graph.graph.inserting_after(last):
            changed = graph.graph.call_function(self._through(name), (last,))
        for user in users:
            user.replace_input_with(last, changed)

    def _through(self, name: str) -> Placed:
        return lambda x: self.at[name](x) if name in self.at else x

    def _through_weight(self, name: str) -> Placed:
        return lambda x: self.weight_at[name](x) if name in self.weight_at else x


def operation_of(node: fx.Node) -> str | None:
    """Return the one of ``OPERATIONS`` that a node of a traced graph is, or None."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    name = node.target.overloadpacket.__name__
    return next((kind for kind in OPERATIONS if name == kind or name.startswith(f"{kind}_")), None)


def module_of(node: fx.Node) -> str:
    """Return the name of the module in whose ``forward`` a node of a traced graph stands."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def kept(module: str, keep_float: Collection[str]) -> bool:
    """Return whether ``module`` is one of ``keep_float`` or inside of one."""
    return any(module == name or module.startswith(f"{name}.") for name in keep_float)


def check_keep_float(network: nn.Module, keep_float: Iterable[str]) -> None:
    """Raise ``InputError`` for a name that none of the modules of ``network`` has."""
    known = {name for name, _ in network.named_modules() if name}
    for name in keep_float:
        if name not in known:
            layers = [n for n, part in network.named_modules() if isinstance(part, nn.Conv2d)]
            raise InputError(
                f"{name!r:.80} cannot be kept in float: the network has no such part; give the "
                f"name of a layer or of its parent, such as {', '.join(layers[:3])}"
            )


def _traced(network: nn.Module, channels: int, size: tuple[int, int]) -> fx.GraphModule:
    example = next(network.parameters()).new_zeros(2, channels, *size)
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},), strict=False)
    found = program.module()
    assert isinstance(found, fx.GraphModule)
    return found


def _behind_activation(node: fx.Node) -> fx.Node:
    """Return the activation behind ``node`` if nothing else uses its output, else ``node``."""
    if len(node.users) != 1:
        return node
    (user,) = node.users
    target = user.target
    is_one = isinstance(target, torch._ops.OpOverload) and (
        target.overloadpacket.__name__ in ACTIVATIONS
    )
    return user if is_one else node


def _of_constant(node: fx.Node) -> bool:
    """Return whether a sum has a number as its other term: part of a hard sigmoid."""
    return operation_of(node) == "add" and not isinstance(node.args[1], fx.Node)
