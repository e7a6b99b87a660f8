"""The fuzzed readers, with the seeds of each."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first optimiser would, which leaves a folder in TMPDIR
from safetensors.torch import save

import data_readers
import export_readers
import ghostnet_small as gns
import study_readers
from evidence.tables import TABLES, render_tables
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.recipe.recipe import known_keys, read_recipe
from ghostnet_small.recipe.recipe_file import recipe_text
from ghostnet_small.recipe.shipped_recipes import shipped_recipes
from ghostnet_small.run import start as runs
from ghostnet_small.run.records import read_records, read_rows
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.train.engine import Training
from ghostnet_small.use.training_data import recipe_of
from trees import clear, pack, unpack

WIDTH = 0.01
CLASSES = ("a", "b", "c")


@dataclass(frozen=True)
class Reader:
    """``seeds`` to begin with, ``read`` (bytes, scratch folder), ``words`` worth putting in."""

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], None]
    words: tuple[str, ...] = ()
    longest: int = 1 << 16


# Recipes -------------------------------------------------------------------------------------


def _recipe_seeds(scratch: Path) -> list[bytes]:
    texts = [file.read_text() for file in shipped_recipes().values()]
    texts.append(recipe_text(read_recipe().as_dict()))
    texts.append("train: {epochs: 3}\ndata: {mean: [0.5], std: [1e-3], class_names: [a, b]}\n")
    texts.append("name: &a [x]\ntrain: {epochs: *a, seed: !!int '1_0', clip_norm: .inf}\n")
    texts.append("? !!binary aGk=\n: !!timestamp 2001-01-01\nname: !!python/name:os.system\n")
    return [text.encode() for text in texts]


def _read_recipe(data: bytes, scratch: Path) -> None:
    file = scratch / "recipe.yaml"
    file.write_bytes(data)
    recipe = read_recipe(file)
    recipe.hash()
    # What was accepted must survive being written into a run's folder.
    file.write_text(recipe_text(recipe.as_dict()))
    assert repr(read_recipe(file)) == repr(recipe), "a recipe is another one once written"


# Weights -------------------------------------------------------------------------------------


def _model(form: str = "training") -> tuple[Any, gns.ModelInfo]:
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=WIDTH, num_classes=3, in_channels=1).eval()
    recipe = read_recipe(None, ["--model.width", str(WIDTH)]).as_dict()
    info = gns.ModelInfo(CLASSES, (8, 8), (0.3,), (0.4,), recipe)
    return (gns.reparameterize(model) if form == "deployed" else model), info


def _head(file: bytes) -> tuple[str, bytes]:
    """The header of a safetensors file, and the kind of part that fills it up with zeros."""
    return f"z{len(file)}", file[: 8 + struct.unpack("<Q", file[:8])[0]]


def _weights_seeds(scratch: Path) -> list[bytes]:
    seeds = []
    for form in ("training", "deployed"):
        model, info = _model(form)
        gns.save_model(model, info, scratch / form)
        config = (scratch / form / "config.json").read_bytes()
        # Without digests, which would refuse whatever was changed, and once with them.
        plain = {k: v for k, v in json.loads(config).items() if k != "digest"}
        kind, head = _head(save(model.state_dict()))
        for text in (json.dumps(plain), json.dumps({**plain, "recipe": {}})):
            seeds.append(
                pack([("f", "config.json", text.encode()), (kind, "model.safetensors", head)])
            )
    whole = (scratch / "deployed" / "model.safetensors").read_bytes()
    seeds.append(pack([("f", "config.json", config), ("f", "model.safetensors", whole)]))
    seeds.append(pack([("f", "config.json", text.encode()), ("p", "model.safetensors", b"")]))
    seeds.append(pack([("f", "config.json", b"[" * 9000), ("l", "model.safetensors", b".")]))
    return seeds


def _read_weights(data: bytes, scratch: Path) -> None:
    folder = scratch / "weights"
    clear(folder)
    unpack(data, folder)
    model, info = gns.load(folder)
    with torch.inference_mode():
        model(torch.zeros(1, len(info.mean), 8, 8))
    recipe_of(info, folder, ())


# Runs ----------------------------------------------------------------------------------------

RUN = ["--train.epochs", "2", "--train.batch_size", "8", "--data.limit", "16"]
RUN += ["--model.width", str(WIDTH), "--train.device", "cpu", "--train.threads", "1"]


class _Reached(Exception):
    """The state was read and restored; there the reading ends."""


class _Nobody:
    """A watcher that does not look."""

    def step(self, *_: Any) -> None:
        """Nothing."""

    def epoch(self, *_: Any) -> None:
        """Nothing."""


def _resume(path: Path, reached: Callable[[Any], None]) -> None:
    """``resume`` up to the first step; the data, always the same, are read once."""
    loaded: dict[str, Any] = {}

    def load_once(settings: DataSettings, *_: Any, **__: Any) -> Any:
        settings.check()
        key = repr(replace(settings, root=None))
        if key not in loaded:
            loaded.clear()
            loaded[key] = load_data(replace(settings, root=None))
        return loaded[key]

    before = runs.load_data, Training.run
    runs.load_data, Training.run = load_once, reached  # type: ignore[assignment]
    try:
        runs.resume(path, [], watcher=_Nobody(), stop_signal=lambda: None)
    except _Reached:
        pass
    finally:
        runs.load_data, Training.run = before  # type: ignore[method-assign]


def _state_seeds(scratch: Path) -> list[bytes]:
    path = scratch / "run"
    RunFolder(path).create(read_recipe(None, RUN))

    def save_and_stop(training: Any) -> None:
        # Momenta, as after a first step.
        for parameter in training.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        training.optimizer.step()
        training.store.save_state(*training.state())
        raise _Reached

    _resume(path, save_and_stop)
    recipe = (path / "recipe.yaml").read_bytes()
    state = (path / "state.safetensors").read_bytes()
    kind, head = _head(state)
    size = struct.unpack("<Q", head[:8])[0]
    header = json.loads(head[8:])
    values = json.loads(header["__metadata__"]["values"])
    del values["digest"]
    header["__metadata__"]["values"] = json.dumps(values)
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    plain = recipe.partition(b"\n")[2]
    return [
        pack([("f", "recipe.yaml", plain), (kind, "state.safetensors", head[:8] + text)]),
        pack([("f", "recipe.yaml", recipe), ("f", "state.safetensors", state)]),
        pack([("f", "recipe.yaml", recipe), ("f", "summary.json", b'{"last": {}, "digest": ""}')]),
        pack(
            [
                ("f", "recipe.yaml", recipe),
                ("f", "state.safetensors", b"PK"),
                ("f", "state.previous.safetensors", b"PK"),
            ]
        ),
    ]


def _read_state(data: bytes, scratch: Path) -> None:
    folder = scratch / "run"
    clear(folder)
    unpack(data, folder)

    def reached(training: Any) -> None:
        raise _Reached

    _resume(folder, reached)


# Records -----------------------------------------------------------------------------


def _record_seeds(scratch: Path) -> list[bytes]:
    results = Path(__file__).resolve().parents[2] / "results"
    lines = [
        line for file in sorted(results.glob("*.jsonl")) for line in file.read_bytes().splitlines()
    ]
    flat = json.dumps({"reader": "x", "inputs": 3, "inputs/s": 1.5, "device": "d", "commit": "c"})
    return [*lines[:20], flat.encode(), b"\n".join([flat.encode()] * 3), b"[" * 5000]


def _read_records(data: bytes, scratch: Path) -> None:
    file = scratch / "records.jsonl"
    file.write_bytes(data)
    read_rows(file)
    # As ``tables`` calls them, which says in one line that a record does not fit its table.
    document = scratch / "document.md"
    for name in ("cifar10-cpu", "fuzz"):
        if name not in TABLES:
            continue
        write_atomic(scratch / f"{name}.jsonl", data)
        document.write_text(f"<!-- table: {name} -->\n<!-- end table -->\n")
        try:
            render_tables(document, scratch)
        except InputError:
            continue
    read_records(file)


YAML_WORDS = ("!!int ", "!!float ", "!!binary ", "!!timestamp ", "!!set ", "!!bool ", "&a ", "*a")
CONFIG_WORDS = ('"width": ', '"form": "deployed"', '"size": [', "1e999", "NaN", "-1", "null")
READERS = {
    "recipe": Reader(_recipe_seeds, _read_recipe, (*known_keys(), *YAML_WORDS), 4096),
    "weights": Reader(_weights_seeds, _read_weights, CONFIG_WORDS, 1 << 18),
    "state": Reader(_state_seeds, _read_state, ('"F32"', '"counters"', "1e999", "null"), 1 << 19),
    "pictures": Reader(data_readers.picture_seeds, data_readers.read_bytes, (), 4096),
    "parquet": Reader(
        data_readers.parquet_seeds, data_readers.read_root, ("huggingface", "PAR1"), 1 << 15
    ),
    "folder": Reader(
        data_readers.folder_seeds,
        data_readers.read_root,
        ("\n==== f ", "\n==== l ", "train/"),
        8192,
    ),
    "idx": Reader(
        data_readers.idx_seeds,
        data_readers.read_root,
        ("-images-idx3-ubyte", "\n==== f train"),
        8192,
    ),
    "cifar": Reader(
        data_readers.cifar_seeds,
        data_readers.read_root,
        ("data_batch_1", "labels", "fine_labels"),
        1 << 17,
    ),
    "npz": Reader(
        data_readers.npz_seeds, data_readers.read_root, ("x_train", "descr", "'|u1'", "'|O'"), 8192
    ),
    "pickle": Reader(
        data_readers.pickle_seeds,
        data_readers.read_pickle,
        ("cos\nsystem\n", "numpy", "_reconstruct"),
        4096,
    ),
    "program": Reader(
        export_readers.program_seeds,
        export_readers.read_program,
        ("torch.ops.aten.", '"as_int":', '"use_pickle":true', "1e999", "null"),
        1 << 17,
    ),
    "c": Reader(
        export_readers.c_seeds,
        export_readers.read_c,
        ("0x7fffffff", "1e38f", "};\n", '#include "', "*/", '"width": '),
        1 << 19,
    ),
    "study": Reader(
        study_readers.study_seeds,
        study_readers.read_study_folder,
        ("strategy", "published", "\n==== f results.jsonl", "1e999", "NaN", "null", "[]"),
        1 << 16,
    ),
    "card": Reader(
        study_readers.card_seeds,
        study_readers.read_card_folder,
        (
            *("data_files: ", "data_dir: ", "../", "ftp://", "features: ", "class_label", "names"),
            *("'99999999999': a", "**/*", "&a ", "*a"),
        ),
        1 << 14,
    ),
    "records": Reader(_record_seeds, _read_records, ("1e999", "NaN", "null", "{}"), 1 << 15),
}
if not FORMATS["onnx"].missing():
    READERS["onnx"] = Reader(
        export_readers.onnx_seeds, export_readers.read_onnx, ("Conv", "Loop", "\x7f\x7f"), 1 << 16
    )
