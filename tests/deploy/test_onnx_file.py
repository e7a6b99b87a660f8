from __future__ import annotations

import re
from collections.abc import Callable
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

if FORMATS["onnx"].missing():
    pytest.skip("onnx is not installed", allow_module_level=True)

import onnx
import onnxruntime

from ghostnet_small.deploy import onnx_file


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    return export("onnx", CASES["width 1.0"], tmp_path_factory.mktemp("onnx"))


def changed(path: Path, change: Callable[[onnx.ModelProto], None], to: Path) -> Path:
    """The file of a model that was changed before it was written."""
    model = onnx.load(path)
    described = onnx_file.open_file(path, 1).description
    del model.metadata_props[:]
    change(model)
    onnx.helper.set_model_props(model, {onnx_file.KEY: described.as_json()})
    body = model.SerializeToString()
    to.write_bytes(body + onnx_file._end(body))
    return to


@pytest.mark.parametrize("case", [case for case in CASES if case != "width 1.0"])
def test_agrees(case: str, tmp_path: Path) -> None:
    made, path = export("onnx", CASES[case], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    check_answers(open_file(path), made)


def test_width_one_agrees_on_one_thread_and_two(plain: tuple[Sample, Path]) -> None:
    made, path = plain
    for threads in (1, 2):
        session = open_file(path, threads)
        assert onnx_file.options(threads).intra_op_num_threads == threads
        check_answers(session, made)


@pytest.mark.parametrize(
    ("found", "expected"),
    [({}, True), ({"avx2": True, "avx512_vnni": False}, True), ({"avx_vnni": True}, False)],
)
def test_products_of_8_bits_are_added_exactly(
    found: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an option where the processor does not; it would cost others their speed."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert onnx_file.sums_products_exactly() is not expected
    options = onnx_file.options(1)
    if expected:
        assert options.get_session_config_entry(onnx_file.EXACT_SUMS) == "1"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry(onnx_file.EXACT_SUMS)


def test_the_file_is_of_a_format_that_runtimes_take_and_knows_nobodys_folders(
    plain: tuple[Sample, Path],
) -> None:
    model = onnx.load(plain[1])
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert b"/src/" not in plain[1].read_bytes() and b"site-packages" not in plain[1].read_bytes()
    # Every batch is known to be the same.
    ends = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    batches = {
        end.type.tensor_type.shape.dim[0].dim_param
        for end in ends
        if len(end.type.tensor_type.shape.dim) == 4 and "." not in end.name
    }
    assert batches == {"batch"}


def test_the_runtime_keeps_its_own_layout_from_end_to_end(
    plain: tuple[Sample, Path], tmp_path: Path
) -> None:
    options = onnx_file.options(1)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(plain[1], options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node
    kinds = [node.op_type for node in nodes]
    if not any(node.domain == "com.microsoft.nchwc" for node in nodes):
        pytest.skip("the runtime has no layout of its own on this CPU")
    assert kinds.count("ReorderInput") == 0 and kinds.count("ReorderOutput") == 1


def test_a_batch_that_is_larger_than_a_piece(plain: tuple[Sample, Path]) -> None:
    made, session = plain[0], open_file(plain[1])
    order = np.arange(2 * PIECE + 3) % len(made.pictures)
    assert relative_error(session(made.pictures[order]), made.answers[order]) < 1e-4


def test_other_networks_stay_as_they_are(tmp_path: Path, plain: tuple[Sample, Path]) -> None:
    made = plain[0]
    torch.manual_seed(0)
    other = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10))
    network = Deployable(other, made.description).eval()
    onnx_file.export(network, made.description, tmp_path / "model.onnx")
    with torch.no_grad():
        exact = network(torch.from_numpy(made.pictures)).numpy()
    found = onnx_file.open_file(tmp_path / "model.onnx", 1)(made.pictures)
    assert relative_error(found, exact) < 1e-5


def test_a_damaged_file_is_refused(plain: tuple[Sample, Path], tmp_path: Path) -> None:
    data = plain[1].read_bytes()
    spoiled = [b"", b"\0" * 1000, data[:1000], data[:-1], data + b"\n", data[1:]]
    spoiled += [flipped(data, place) for place in range(0, len(data), len(data) // 7)]
    for part in spoiled:
        (tmp_path / "model.onnx").write_bytes(part)
        with pytest.raises(InputError, match="its digest is not that of its content"):
            open_file(tmp_path / "model.onnx")


def test_a_file_of_another_program_or_version_is_refused(
    plain: tuple[Sample, Path], tmp_path: Path
) -> None:
    model = onnx.load(plain[1])
    del model.metadata_props[:]
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="was not written by ghostnet-small export"):
        open_file(foreign)
    text = plain[0].description.as_json().replace('"format": 1', '"format": 2')
    onnx.helper.set_model_props(model, {onnx_file.KEY: text})
    body = model.SerializeToString()
    foreign.write_bytes(body + onnx_file._end(body))
    with pytest.raises(InputError, match="is of format 2, and this program reads 1"):
        open_file(foreign)


def mistyped(model: onnx.ModelProto) -> None:
    model.graph.node[3].op_type = "Rleu"


def far_outside(model: onnx.ModelProto) -> None:
    """A convolution's padding."""
    pads = next(a for n in model.graph.node for a in n.attribute if a.name == "pads")
    pads.ints[0] = 1 << 40


def renamed(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[0].output[0]


def loops(model: onnx.ModelProto) -> None:
    """2^62 turns."""
    body = onnx.helper.make_graph([], "body", [], [])
    names = ["turns", "goes", "pictures"]
    loop = onnx.helper.make_node("Loop", names, ["last"], body=body)
    model.graph.node.insert(0, loop)


def makes_much(model: onnx.ModelProto) -> None:
    """4.5 GiB from a few bytes."""
    shape = onnx.helper.make_tensor("much", onnx.TensorProto.INT64, [1], [1_200_000_000])
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["much"], ["out of it"]))


def hides_a_graph(model: onnx.ModelProto) -> None:
    graph = onnx.helper.make_graph([], "inside", [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("hidden", graph))


def reads_a_file(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def has_functions(model: onnx.ModelProto) -> None:
    function = onnx.helper.make_function("", "Relu", ["x"], ["y"], [], [])
    model.functions.append(function)


def grows(model: onnx.ModelProto) -> None:
    """By a padding that is no attribute."""
    far = 1 << 20
    pads = onnx.helper.make_tensor(
        "pads", onnx.TensorProto.INT64, [8], [0, 0, 0, 0, 0, 0, far, far]
    )
    model.graph.initializer.append(pads)
    model.graph.node.append(onnx.helper.make_node("Pad", ["pictures", "pads"], ["large"]))


def works_on(model: onnx.ModelProto) -> None:
    """Pools of 2^20 pixels, each of which is as many sums."""
    large = onnx.helper.make_node(
        "AveragePool",
        ["pictures"],
        ["pooled"],
        kernel_shape=[4096, 4096],
        pads=[4095, 4095, 4095, 4095],
        count_include_pad=1,
    )
    model.graph.node.append(large)


def unknown(model: onnx.ModelProto) -> None:
    """A size that only running tells."""
    model.graph.node.append(onnx.helper.make_node("Cast", ["pictures"], ["whole"], to=7))
    model.graph.node.append(onnx.helper.make_node("Flatten", ["whole"], ["flat"], axis=0))
    model.graph.node.append(onnx.helper.make_node("Squeeze", ["flat"], ["sizes"]))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["pictures", "sizes"], ["odd"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (loops, "uses the operator 'Loop'"),
        (makes_much, "uses the operator 'ConstantOfShape'"),
        (mistyped, "uses the operator 'Rleu'"),
        (hides_a_graph, "has a graph inside Conv"),
        (reads_a_file, "keeps numbers in another file"),
        (has_functions, "brings functions"),
        (far_outside, "has 'pads' of Conv far out of range"),
        (grows, "values in one tensor, more than 268,435,456"),
        (works_on, "products an image, more than"),
        (unknown, "does not say how large 'odd' of Reshape is"),
    ],
)
def test_what_a_strangers_graph_asks_for_is_judged_before_it_runs(
    change: Callable[[onnx.ModelProto], None],
    said: str,
    plain: tuple[Sample, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = changed(plain[1], change, tmp_path / "model.onnx")

    def run(*given: object, **options: object) -> None:
        pytest.fail("the runtime was given the file")

    monkeypatch.setattr(onnxruntime, "InferenceSession", run)
    with pytest.raises(InputError, match=re.escape(str(path))) as raised:
        open_file(path)
    assert said in str(raised.value) and "--trust" in str(raised.value)


def test_a_trusted_file_is_given_to_the_runtime(plain: tuple[Sample, Path], tmp_path: Path) -> None:
    path = changed(plain[1], makes_much, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="uses the operator 'ConstantOfShape'"):
        open_file(path)
    # It leaves out what nobody asks for.
    check_answers(open_file(path, trust=True), plain[0])


@pytest.mark.parametrize("change", [mistyped, far_outside, renamed])
def test_a_graph_that_cannot_run_is_refused_when_it_is_opened(
    change: Callable[[onnx.ModelProto], None], plain: tuple[Sample, Path], tmp_path: Path
) -> None:
    path = changed(plain[1], change, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=re.escape(str(path)) + " (is no network|has another)"):
        open_file(path, trust=True)


def test_a_description_that_is_not_the_graphs_is_refused(
    plain: tuple[Sample, Path], tmp_path: Path
) -> None:
    model, made = onnx.load(plain[1]), plain[0].description
    del model.metadata_props[:]
    path = tmp_path / "model.onnx"
    for other in (
        replace(made, input="pixels"),
        replace(made, size=(31, 32)),
        replace(made, classes=("cat", "dog")),
        replace(made, mean=(0.5,), std=(0.5,)),
    ):
        onnx.helper.set_model_props(model, {onnx_file.KEY: other.as_json()})
        body = model.SerializeToString()
        path.write_bytes(body + onnx_file._end(body))
        with pytest.raises(InputError, match="has another input or output than it says"):
            open_file(path)


def test_pictures_of_another_type_are_never_cast(plain: tuple[Sample, Path]) -> None:
    session = open_file(plain[1])
    with pytest.raises(Exception, match="Unexpected input data type"):
        session(plain[0].pictures.astype(np.float64))
