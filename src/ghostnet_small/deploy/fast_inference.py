"""Faster forms of a network on a CPU, made in memory.

Each comes from one exported graph, so from any network that PyTorch can export: those of timm, too.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ghostnet_small.models.network import Network

# Images that a thread answers at a time: what lies between two layers stays in its cache.
PIECE = 16

Answering = Callable[[Tensor], Tensor]
"""Normalised float32 images ``(PIECE * threads, C, H, W)`` to float32 logits."""


@dataclass(frozen=True)
class DirectForm:
    """A way to compute a network: ``build`` makes it of an exported graph, for so many threads.

    ``modules`` are what it imports; ``bfloat16``: only for processors that multiply in it.
    """

    build: Callable[[ExportedProgram, int], Answering]
    modules: tuple[str, ...] = ()
    bfloat16: bool = False

    def there(self) -> bool:
        """Return whether this machine has what the form needs."""
        installed = all(find_spec(name) is not None for name in self.modules)
        return installed and (not self.bfloat16 or has_bfloat16())


class InPieces(nn.Module):
    """``(N, C, H, W) -> logits (N, K)`` by ``run``, which takes ``count`` images at a time."""

    def __init__(self, run: Answering, count: int) -> None:
        super().__init__()
        self.run, self.count = run, count

    def forward(self, x: Tensor) -> Tensor:
        missing = -len(x) % self.count
        filled = torch.cat((x, x.new_zeros(missing, *x.shape[1:])))
        return torch.cat([self.run(part) for part in filled.split(self.count)])[: len(x)]


def exported(network: nn.Module, image: tuple[int, ...], threads: int) -> ExportedProgram:
    """Return the graph of ``network``, in evaluation mode, for pieces of ``image`` shape."""
    whole = network.whole() if isinstance(network, Network) else network
    example = torch.zeros(PIECE * threads, *image)
    # A graph of one batch size: runtimes lay it out best, and exporting asks no more of a network.
    with _quiet(), torch.no_grad():
        return torch.export.export(whole.eval(), (example,), strict=False)


def build(form: DirectForm, program: ExportedProgram, threads: int) -> nn.Module:
    """Return a network that computes ``program`` in ``form``, and has done so once."""
    example = program.example_inputs[0][0]
    with _quiet(), torch.no_grad():
        network = InPieces(form.build(program, threads), len(example))
        answers = network(example)
    if len(answers) != len(example):  # OpenVINO, where it cannot compute in what it is asked for
        raise RuntimeError(f"it gives {len(answers)} answers to {len(example)} images")
    return network


def has_bfloat16() -> bool:
    """Return whether this processor multiplies in bfloat16."""
    # Where PyTorch cannot tell, it does not.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _torch(program: ExportedProgram, threads: int, dtype: torch.dtype) -> Answering:
    # The program's tensors are those of the network, which stays as it is.
    graph = copy.deepcopy(program.module())
    assert isinstance(graph, GraphModule)
    fold_batch_norms(graph)
    graph.to(dtype).to(memory_format=torch.channels_last)

    def run(x: Tensor) -> Tensor:
        shown = x.to(dtype).contiguous(memory_format=torch.channels_last)
        logits: Tensor = graph(shown)
        return logits.float()

    return run


def _openvino(program: ExportedProgram, threads: int, precision: str) -> Answering:
    import openvino

    from ghostnet_small.deploy.openvino_file import options

    chosen = {**options(threads), "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(openvino.convert_model(program), "CPU", chosen)
    request = compiled.create_infer_request()

    def run(x: Tensor) -> Tensor:
        # A copy: the runtime uses its memory again.
        return torch.from_numpy(request.infer([x.contiguous().numpy()])[0].copy())

    return run


def _onnxruntime(program: ExportedProgram, threads: int) -> Answering:
    import onnxruntime

    from ghostnet_small.deploy.onnx_file import INPUT, OPSET, OUTPUT, options

    written = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        verbose=False,
    )
    assert written is not None
    session = onnxruntime.InferenceSession(
        written.model_proto.SerializeToString(),
        options(threads),
        providers=["CPUExecutionProvider"],
    )

    def run(x: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: x.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


ONNX = ("onnx", "onnxruntime", "onnxscript")
FORMS = {
    "torch float32": DirectForm(partial(_torch, dtype=torch.float32)),
    "torch bfloat16": DirectForm(partial(_torch, dtype=torch.bfloat16), bfloat16=True),
    "openvino float32": DirectForm(partial(_openvino, precision="f32"), ("openvino",)),
    "openvino bfloat16": DirectForm(partial(_openvino, precision="bf16"), ("openvino",), True),
    "onnxruntime float32": DirectForm(_onnxruntime, ONNX),
}


def fold_batch_norms(graph: GraphModule) -> None:
    """Fold each batch norm of an exported ``graph`` into the convolution before it, in place."""
    aten = torch.ops.aten
    for norm in list(graph.graph.nodes):
        if norm.target is not aten.batch_norm.default:
            continue
        conv, scale, shift, mean, variance, training, _, eps, _ = norm.args
        if conv.target not in (aten.conv2d.default, aten.conv2d.padding) or len(conv.users) > 1:
            continue
        kernel, bias, means, variances = (
            _constant(graph, node) for node in (conv.args[1], (*conv.args, None)[2], mean, variance)
        )
        # A kernel that is computed, as by weight standardisation, is no constant.
        if training or kernel is None or means is None or variances is None:
            continue
        folded = fuse_conv_bn_weights(
            kernel.double(),
            None if bias is None else bias.double(),
            means.double(),
            variances.double(),
            eps,
            _constant(graph, scale),
            _constant(graph, shift),
        )
        nodes = []
        for part, value in zip(("kernel", "bias"), folded, strict=True):
            name = f"{norm.name}_{part}"
            graph.register_buffer(name, value.detach().to(kernel.dtype))
            with graph.graph.inserting_before(conv):
                nodes.append(graph.graph.get_attr(name))
        conv.args = (conv.args[0], *nodes, *conv.args[3:])
        norm.replace_all_uses_with(conv)
        graph.graph.erase_node(norm)
    graph.recompile()


def _constant(graph: GraphModule, node: object) -> Tensor | None:
    """Return the tensor that ``node`` stands for; None if it is no constant of the graph."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: object = graph
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value if isinstance(value, Tensor) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the warnings of exporters: comparing the answers finds any errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
