from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy_kit import CASES, Sample, check_answers, export, flipped
from ghostnet_small.deploy.batches import PIECE
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.session import relative_error
from ghostnet_small.errors import InputError

if FORMATS["openvino"].missing():
    pytest.skip("openvino is not installed", allow_module_level=True)

import openvino

from ghostnet_small.deploy import openvino_file


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    return export("openvino", CASES["width 1.0"], tmp_path_factory.mktemp("openvino"))


@pytest.fixture
def copied(plain: tuple[Sample, Path], tmp_path: Path) -> Path:
    """Of the two files, to be spoiled."""
    for file in FORMATS["openvino"].files(plain[1]):
        shutil.copy(file, tmp_path)
    return tmp_path / plain[1].name


def rewritten(path: Path, graph: bytes) -> Path:
    """``path`` with another graph beside the same weights, and their digest."""
    weights = path.with_suffix(".bin").read_bytes()
    path.write_bytes(graph + openvino_file._end(graph, weights))
    return path


def graph_of(path: Path) -> bytes:
    return path.read_bytes()[: -len(openvino_file._end(b"", b""))]


@pytest.mark.parametrize("case", [case for case in CASES if case != "width 1.0"])
def test_agrees(case: str, tmp_path: Path) -> None:
    made, path = export("openvino", CASES[case], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    check_answers(open_file(path), made)


def test_width_one_agrees_on_one_thread_and_two(plain: tuple[Sample, Path]) -> None:
    made, path = plain
    for threads in (1, 2):
        assert openvino_file.options(threads)["INFERENCE_NUM_THREADS"] == threads
        check_answers(open_file(path, threads), made)


def test_weights_are_stored_and_multiplied_in_float32(plain: tuple[Sample, Path]) -> None:
    core = openvino.Core()
    model = core.read_model(plain[1])
    assert model.input(0).partial_shape.to_string() == "[?,3,32,32]"
    kinds = {node.get_element_type().to_string() for node in model.get_ops() if node.outputs()}
    assert not kinds & {"f16", "bf16"}
    compiled = core.compile_model(model, "CPU", openvino_file.options(1))
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    # OpenVINO takes them as what it should aim at, and nothing is taken back.
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1


def test_more_sizes_of_batch_than_are_kept(plain: tuple[Sample, Path]) -> None:
    made, session = plain[0], openvino_file.open_file(plain[1], 1)
    for batch in (1, 2, 3, 4, 5, 6, 1, 3):
        first = session(made.pictures[:batch])
        assert relative_error(first, made.answers[:batch]) < 1e-4
        kept = first.copy()
        session(made.pictures[-batch:])
        # The memory of one answer is not that of the next.
        assert np.array_equal(first, kept)
    assert len(session._requests) == openvino_file.MOST_COMPILED


def test_pictures_of_another_type_are_never_cast(plain: tuple[Sample, Path]) -> None:
    session = open_file(plain[1])
    with pytest.raises(TypeError, match="Cannot cast"):
        session((255 * plain[0].pictures).astype(np.uint8))


def test_a_batch_that_is_larger_than_a_piece(plain: tuple[Sample, Path]) -> None:
    made, session = plain[0], open_file(plain[1])
    order = np.arange(2 * PIECE + 3) % len(made.pictures)
    assert relative_error(session(made.pictures[order]), made.answers[order]) < 1e-4


def test_other_networks_stay_as_they_are(tmp_path: Path, plain: tuple[Sample, Path]) -> None:
    made = plain[0]
    torch.manual_seed(0)
    other = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10))
    network = Deployable(other, made.description).eval()
    openvino_file.export(network, made.description, tmp_path / "model.xml")
    with torch.no_grad():
        exact = network(torch.from_numpy(made.pictures)).numpy()
    found = openvino_file.open_file(tmp_path / "model.xml", 1)(made.pictures)
    assert relative_error(found, exact) < 1e-5


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_damaged_file_is_refused(suffix: str, copied: Path) -> None:
    file = copied.with_suffix(suffix)
    data = file.read_bytes()
    spoiled = [b"", b"\0" * 1000, data[:1000], data[:-1], data + b"\n", data[1:]]
    spoiled += [flipped(data, place) for place in range(0, len(data), len(data) // 5)]
    for part in spoiled:
        file.write_bytes(part)
        with pytest.raises(InputError, match="their digest is not that of their content"):
            open_file(copied)


def test_weights_of_another_export_are_refused(copied: Path) -> None:
    weights = copied.with_suffix(".bin")
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(InputError, match="belongs to another"):
        open_file(copied)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.bin is not there"):
        open_file(copied)


def test_a_file_of_another_program_or_version_is_refused(copied: Path) -> None:
    graph = graph_of(copied)
    copied.write_bytes(graph)
    with pytest.raises(InputError, match="was not written by ghostnet-small export"):
        open_file(copied)
    there = b"&quot;format&quot;: 1"
    assert there in graph
    with pytest.raises(InputError, match="is of format 2, and this program reads 1"):
        open_file(rewritten(copied, graph.replace(there, b"&quot;format&quot;: 2")))
    with pytest.raises(InputError, match="does not describe its classes"):
        open_file(rewritten(copied, re.sub(rb"<ghostnet_small [^>]*>", b"", graph)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</net>", b""),
        (b'type="Convolution"', b'type="Cnovolution"'),
        (b'pads_begin="1, 1"', b'pads_begin="99999999999, 1"'),
        (b'size="1728"', b'size="999999999999"'),
        (b'<edge from-layer="0"', b'<edge from-layer="999"'),
    ],
)
def test_a_graph_that_cannot_run_is_refused_when_it_is_opened(
    old: bytes, new: bytes, copied: Path
) -> None:
    graph = graph_of(copied)
    assert old in graph
    with pytest.raises(InputError, match=re.escape(str(copied)) + " (is no network|has another)"):
        open_file(rewritten(copied, graph.replace(old, new, 1)))


def test_a_description_that_is_not_the_graphs_is_refused(copied: Path) -> None:
    graph, weights = graph_of(copied), copied.with_suffix(".bin").read_bytes()
    made = openvino_file.open_file(copied, 1).description
    for other in (
        replace(made, input="pixels"),
        replace(made, size=(31, 32)),
        replace(made, classes=("cat", "dog")),
        replace(made, mean=(0.5,), std=(0.5,)),
    ):
        model = openvino.Core().read_model(graph, openvino.Tensor(np.frombuffer(weights, np.uint8)))
        openvino_file.save(model, other, copied)
        with pytest.raises(InputError, match="has another input or output than it says"):
            open_file(copied)
