"""The network as a graph of PyTorch's own operators, without parts that a device does not use."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ghostnet_small.deploy.description import Description

# The entries of a node's ``meta`` that later steps read. The rest is source lines with this
# machine's paths, half a megabyte in the file.
KEPT = ("val", "tensor_meta")


def input_type(description: Description) -> torch.dtype:
    """Return the type of the images that the network takes."""
    return torch.uint8 if description.input == "pixels" else torch.float32


def traced(network: nn.Module, description: Description, most: int) -> ExportedProgram:
    """Return the graph of ``network``, in evaluation mode, for 1 to ``most`` images at a time.

    It takes what ``description`` says: ``(N, C, H, W)``, normalised float32 or uint8 pixels.
    """
    # Two images: a batch of one would be exported as a constant.
    example = torch.zeros(
        min(2, most), description.channels, *description.size, dtype=input_type(description)
    )
    shapes = ({0: Dim("batch", min=1, max=most)},) if most > 1 else None
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=shapes, strict=False)
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        # Slices that take everything, and the check of a type that the runtime makes anyway.
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        else:
            node.meta = {key: node.meta[key] for key in KEPT if key in node.meta}
    program.graph_module.recompile()
    # They would be saved as a pickle.
    program.example_inputs = None
    return program
