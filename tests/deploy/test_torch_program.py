from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy_kit import BOUND, CASES, Sample, check_answers, export, flipped
from ghostnet_small.deploy.formats import open_file
from ghostnet_small.deploy.session import relative_error
from ghostnet_small.errors import InputError

Change = Callable[[dict[str, Any]], None]
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    return export("torch", CASES["width 1.0"], tmp_path_factory.mktemp("torch"))


def changed(source: Path, target: Path, record: str, change: Change) -> Path:
    """A copy of an exported program with another JSON record, and its checksum right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith(record):
                values = json.loads(data)
                change(values)
                data = json.dumps(values).encode()
            # The sum of sizes must not pass the file's own.
            new.writestr(info.filename, data)
    return target


def test_width_1_agrees(plain: tuple[Sample, Path]) -> None:
    made, path = plain
    check_answers(open_file(path), made)


@pytest.mark.parametrize("case", [name for name in CASES if name != "width 1.0"])
def test_agrees(case: str, tmp_path: Path) -> None:
    made, path = export("torch", CASES[case], tmp_path)
    check_answers(open_file(path), made)


def test_pytorch_reads_the_file_too(plain: tuple[Sample, Path]) -> None:
    made, path = plain
    extra = {"ghostnet_small.json": ""}
    program = torch.export.load(path, extra_files=extra)
    with torch.no_grad():
        found = program.module()(torch.from_numpy(made.pictures)).numpy()
    assert relative_error(found, made.answers) < BOUND
    assert json.loads(extra["ghostnet_small.json"])["classes"] == list(made.description.classes)


def test_the_file_holds_no_pickle_and_nothing_of_this_machine(plain: tuple[Sample, Path]) -> None:
    with zipfile.ZipFile(plain[1]) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            assert not data.startswith((b"PK", b"\x80\x02", b"\x80\x04")), name
            assert b".py" not in data, name


def test_a_pickle_is_never_loaded(plain: tuple[Sample, Path], tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    def pickled(values: dict[str, Any]) -> None:
        entry = values["config"]["network.stem.weight"]
        entry.update(use_pickle=True, path_name="evil")

    path = changed(plain[1], tmp_path / "a.pt2", WEIGHTS, pickled)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/data/weights/evil", pickle.dumps(Attack()))
    with pytest.raises(InputError, match="a pickle, which can run code and is never loaded"):
        open_file(path)
    bare = tmp_path / "b.pt2"
    torch.save(Attack(), bare)
    with pytest.raises(InputError, match="damaged or no exported program"):
        open_file(bare)
    bare.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match="not a zip file"):
        open_file(bare)
    assert not marker.exists()


def _calls_another_function(values: dict[str, Any]) -> None:
    values["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def _evaluates_a_text(values: dict[str, Any]) -> None:
    argument = {"name": "stride", "arg": {"as_string": "__import__('os')"}, "kind": 1}
    values["graph_module"]["graph"]["nodes"][0]["inputs"].append(argument)


def _asks_for_memory(values: dict[str, Any]) -> None:
    for node in values["graph_module"]["graph"]["nodes"]:
        if "upsample" in node["target"]:
            node["inputs"][2]["arg"] = {"as_floats": [1e6, 1e6]}


def _uses_what_is_not_there(values: dict[str, Any]) -> None:
    values["graph_module"]["graph"]["nodes"][5]["inputs"][0]["arg"]["as_tensor"]["name"] = "x"


def _stops_too_early(values: dict[str, Any]) -> None:
    graph = values["graph_module"]
    before = graph["graph"]["nodes"][-2]["outputs"][0]["as_tensor"]["name"]
    graph["signature"]["output_specs"][0]["user_output"]["arg"]["as_tensor"]["name"] = before


def _is_of_another_version(values: dict[str, Any]) -> None:
    values["schema_version"]["major"] += 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_calls_another_function, "'torch.hub.load' is not allowed"),
        (_evaluates_a_text, "an argument 'as_string'"),
        (_asks_for_memory, "a step's answer of"),
        (_uses_what_is_not_there, "cannot be run"),
        (_stops_too_early, r"answers \(1, 10, 1, 1\) for 10 classes"),
        (_is_of_another_version, "its schema is"),
        (dict.clear, "no 'schema_version'"),
    ],
)
def test_a_changed_program_is_refused(
    plain: tuple[Sample, Path], tmp_path: Path, change: Change, reason: str
) -> None:
    path = changed(plain[1], tmp_path / "a.pt2", MODEL, change)
    with pytest.raises(InputError, match=reason):
        open_file(path)


def test_weights_larger_than_their_record_are_refused(
    plain: tuple[Sample, Path], tmp_path: Path
) -> None:
    def grown(values: dict[str, Any]) -> None:
        values["config"]["network.stem.weight"]["tensor_meta"]["sizes"][0]["as_int"] = 1 << 40

    with pytest.raises(InputError, match="damaged or no exported program"):
        open_file(changed(plain[1], tmp_path / "a.pt2", WEIGHTS, grown))


def test_a_damaged_file_is_refused(plain: tuple[Sample, Path], tmp_path: Path) -> None:
    data, path = plain[1].read_bytes(), tmp_path / "a.pt2"
    for part in (b"", data[:100], data[: len(data) // 2], data[:-30]):
        path.write_bytes(part)
        with pytest.raises(InputError, match="damaged or no exported program"):
            open_file(path)
    whole, refused = open_file(plain[1])(plain[0].pictures), 0
    for place in range(1000, len(data), len(data) // 20):
        path.write_bytes(flipped(data, place))
        try:
            found = open_file(path)(plain[0].pictures)
        except InputError:
            refused += 1
        else:
            # Between two records lie bytes that mean nothing.
            assert (found == whole).all()
    assert refused > 10


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / "a.pt2")
    with pytest.raises(InputError, match="was not written by ghostnet-small export"):
        open_file(tmp_path / "a.pt2")
