"""Read an exported program (``.pt2``) without running any code in it.

``torch.export.load`` unpickles what a file says is a pickle, loads compiled libraries, calls any
function of PyTorch that a step names and evaluates texts as expressions. Here a step may name one
of ``OPERATORS``, and everything else is a number or a name that is looked up among the answers of
earlier steps.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ghostnet_small.errors import InputError

SCHEMA = 8  # The major version of PyTorch's description of a program.
# Numbers in one answer for one image: a hostile file must not fill the memory.
MOST_NUMBERS = 1 << 27
# The operators of our networks and their peers, by the overload's name.
OVERLOADS = (
    ("default", ("conv2d", "linear", "batch_norm", "addmm", "matmul", "dropout", "cat", "chunk")),
    ("default", ("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "sigmoid", "silu")),
    ("default", ("hardsigmoid", "hardswish", "avg_pool2d", "adaptive_avg_pool2d", "max_pool2d")),
    ("default", ("pad",)),
    ("default", ("reshape", "view", "permute", "unsqueeze", "expand", "contiguous", "clone")),
    ("Tensor", ("add", "add_", "sub", "mul", "div", "slice")),
    ("dim", ("mean", "squeeze")),
    ("int", ("softmax", "transpose", "select", "sym_size")),
    ("dtype", ("to",)),
    ("vec", ("upsample_nearest2d", "upsample_bilinear2d")),
    ("using_ints", ("flatten",)),
)
OPERATORS: dict[str, Callable[..., Any]] = {
    f"torch.ops.aten.{name}.{overload}": getattr(getattr(torch.ops.aten, name), overload)
    for overload, names in OVERLOADS
    for name in names
}
# A tensor with its channels side by side may have to be copied for another shape.
OPERATORS["torch.ops.aten.view.default"] = torch.ops.aten.reshape.default
TYPES = {1: torch.uint8, 5: torch.int64, 7: torch.float32, 12: torch.bool}
# The errors of reading wrong content or an impossible shape.
WRONG = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,  # PyTorch's own, NotImplementedError and RecursionError too
    AssertionError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    struct.error,
)


class Slot(NamedTuple):
    """The place of an earlier answer in a step's arguments."""

    name: str


class Operation(NamedTuple):
    """A call of an operator; ``done`` are the answers that nothing needs any longer."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answers: tuple[str, ...]
    done: tuple[str, ...]


class Program:
    """Steps over named answers: ``(N, C, H, W) -> (N, K)``."""

    def __init__(
        self, steps: list[Operation], weights: dict[str, Tensor], pictures: str, answer: str
    ) -> None:
        self._steps, self._weights = steps, weights
        self._pictures, self._answer = pictures, answer

    def __call__(self, pictures: Tensor) -> Tensor:
        return self._run(self._weights, pictures, math.inf)

    def answer_shape(self, pictures: Tensor) -> tuple[int, ...]:
        """Return the shape of the answer to ``pictures``, computed on the meta device.

        Raises ``ValueError`` where an answer of a step would have too many numbers.
        """
        weights = {name: weight.to("meta") for name, weight in self._weights.items()}
        return tuple(self._run(weights, pictures, MOST_NUMBERS).shape)

    def _run(self, weights: Mapping[str, Tensor], pictures: Tensor, most: float) -> Tensor:
        values: dict[str, Any] = {**weights, self._pictures: pictures}
        for step in self._steps:
            found = step.function(*(_filled(arg, values) for arg in step.args), **step.kwargs)
            for name, value in zip(step.answers, _listed(found), strict=True):
                if isinstance(value, Tensor) and value.numel() > most:
                    raise ValueError(f"a step's answer of {tuple(value.shape)}")
                values[name] = value
            for name in step.done:
                del values[name]
        answer: Tensor = values[self._answer]
        return answer


def read_program(path: Path, extra: str) -> tuple[Program, str | None]:
    """Return the program of ``path``, and the text that was saved with it as ``extra``.

    Raises ``InputError`` where it is damaged, of another version, or contains what is never loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            read = _Records(archive, path.stat().st_size)
            text = read.optional(f"extra/{extra}")
            model = read.json("models/model.json")
            if model["schema_version"]["major"] != SCHEMA:
                raise ValueError(f"its schema is {model['schema_version']}, not {SCHEMA}")
            weights = {
                **read.tensors("data/weights/"),
                **read.tensors("data/constants/"),
            }
        return _program(model["graph_module"], weights), text
    except WRONG as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path} is damaged or no exported program of this version "
            f"({(reason or type(error).__name__).splitlines()[0]:.200}); export the run again"
        ) from None


class _Records:
    """The records of an archive, under the one folder that all of them lie in."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        infos = archive.infolist()
        self._root = infos[0].filename.split("/")[0]
        # PyTorch compresses nothing, so nothing is larger than the file.
        if any(info.compress_type for info in infos) or sum(i.file_size for i in infos) > size:
            raise ValueError("its records are compressed")
        self._names = {info.filename for info in infos}

    def bytes(self, name: str) -> bytes:
        return self._archive.read(f"{self._root}/{name}")

    def optional(self, name: str) -> str | None:
        return self.bytes(name).decode() if f"{self._root}/{name}" in self._names else None

    def json(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bytes(name))
        return found

    def tensors(self, folder: str) -> dict[str, Tensor]:
        """Return the tensors of ``folder`` by the names of parameters, buffers and constants."""
        kind = folder.split("/")[1]
        config = self.json(f"{folder}model_{kind}_config.json")["config"]
        return {name: self._tensor(folder, entry) for name, entry in config.items()}

    def _tensor(self, folder: str, entry: dict[str, Any]) -> Tensor:
        if entry["use_pickle"]:
            raise ValueError("it holds a pickle, which can run code and is never loaded")
        meta = entry["tensor_meta"]
        sizes, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
        kind = TYPES[meta["dtype"]]
        data = bytearray(self.bytes(folder + entry["path_name"]))
        flat = torch.frombuffer(data, dtype=kind) if data else torch.zeros(0, dtype=kind)
        # With strides of 0, few numbers would make any number.
        if math.prod(sizes) > len(flat):
            raise ValueError("a tensor of more numbers than its file has")
        # Raises where the numbers of the file do not suffice.
        found = flat.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))
        # Convolutions of small images are faster with a pixel's channels side by side, and
        # answer as their weights lie.
        lies = torch.channels_last if found.dim() == 4 else torch.contiguous_format
        return found.clone(memory_format=lies)


def _program(module: dict[str, Any], weights: dict[str, Tensor]) -> Program:
    graph, signature = module["graph"], module["signature"]
    values, pictures = {}, []
    for ((kind, spec),) in (entry.items() for entry in signature["input_specs"]):
        if kind == "user_input":
            pictures.append(spec["arg"]["as_tensor"]["name"])
        else:
            # "parameter", "buffer" or "tensor_constant" of that name.
            values[spec["arg"]["name"]] = weights[spec[f"{kind}_name"]]
    (answer,) = (
        spec["user_output"]["arg"]["as_tensor"]["name"] for spec in signature["output_specs"]
    )
    (name,) = pictures
    nodes = [_step(node) for node in graph["nodes"]]
    return Program(_forgetting(nodes, {*values, answer}), values, name, answer)


def _step(node: dict[str, Any]) -> Operation:
    if node["target"] not in OPERATORS:
        raise ValueError(f"a step {node['target']!r:.80} is not allowed")
    args, kwargs = [], {}
    for given in node["inputs"]:
        value = _argument(given["arg"])
        if given["kind"] == 1:
            args.append(value)
        else:
            if next(_names(value), None):
                raise ValueError("an answer as a named argument")
            kwargs[str(given["name"])] = value
    answers: list[str] = []
    for ((kind, content),) in (output.items() for output in node["outputs"]):
        if kind == "as_tensors":
            answers += [part["name"] for part in content]
        else:
            answers.append(content["as_name" if kind == "as_sym_int" else "name"])
    return Operation(OPERATORS[node["target"]], tuple(args), kwargs, tuple(answers), ())


def _argument(given: dict[str, Any]) -> Any:
    ((kind, content),) = given.items()
    match kind, content:
        case "as_none", _:
            return None
        case ("as_int", int()) | ("as_float", int() | float()) | ("as_bool", bool()):
            return content
        case ("as_ints" | "as_floats", list()) if all(isinstance(n, int | float) for n in content):
            return content
        case "as_tensor", {"name": str() as name}:
            return Slot(name)
        case "as_tensors", list():
            return [Slot(str(part["name"])) for part in content]
        case "as_sym_int", dict():
            return _size(content)
        case "as_sym_ints", list():
            return [_size(part) for part in content]
        case "as_scalar_type", int():
            return TYPES[content]
    raise ValueError(f"an argument {kind!r:.40}")


def _size(given: dict[str, Any]) -> Slot | int:
    return Slot(str(given["as_name"])) if "as_name" in given else int(given["as_int"])


def _names(arg: Any) -> Iterator[str]:
    """Yield the names of the answers that an argument stands for."""
    if isinstance(arg, Slot):
        yield arg.name
    elif isinstance(arg, list):
        for part in arg:
            yield from _names(part)


def _forgetting(steps: list[Operation], kept: set[str]) -> list[Operation]:
    """Return ``steps``, each with the answers that it uses last, without those ``kept``."""
    seen, found = set(kept), []
    for step in reversed(steps):
        used = {name for arg in step.args for name in _names(arg)} | set(step.answers)
        found.append(step._replace(done=tuple(sorted(used - seen))))
        seen |= used
    return found[::-1]


def _filled(arg: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(arg, Slot):
        return values[arg.name]
    if isinstance(arg, list):
        return [_filled(part, values) for part in arg]
    return arg


def _listed(found: Any) -> Any:
    return found if isinstance(found, list | tuple) else (found,)
