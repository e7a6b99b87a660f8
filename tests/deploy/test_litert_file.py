"""LiteRT files: run by LiteRT and by tflite-micro, small enough, and refused where not ours."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy_kit import CASES, Sample, check_answers, export, flipped, sample
from ghostnet_small.deploy.digest import DIGEST, signed
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.session import Array, relative_error
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import load
from ghostnet_small.use.classifier import open_classifier
from ghostnet_small.use.export import export_weights

pytestmark = pytest.mark.skipif(
    bool(FORMATS["litert"].missing()), reason="ai-edge-litert is not installed"
)
WEIGHTS = Path(__file__).parents[2] / "results" / "weights" / "ghostnetv3_small_w1.0_cifar10"
# Of the shipped weights in 8 bits.
MOST_BYTES, MOST_ARENA = 520_000, 160_000
Made = tuple[Sample, Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    return {
        case: export("litert", values, tmp_path_factory.mktemp("litert"))
        for case, values in CASES.items()
    }


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The shipped weights in 8 bits, calibrated on images that are none, and those images."""
    from ghostnet_small.deploy.deployable import Deployable
    from ghostnet_small.deploy.description import describe
    from ghostnet_small.nn.fold import reparameterize

    model, info = load(WEIGHTS)
    description = replace(describe(model, info), precision="int8")
    network = Deployable(reparameterize(model), description).eval()
    shown = smooth(24, len(info.mean), info.size)
    path = FORMATS["litert"].file(tmp_path_factory.mktemp("shipped"), "int8")
    FORMATS["litert"].load_int8().quantize(network, description, shown, path)
    with torch.no_grad():
        answers = network(torch.from_numpy(shown)).numpy()
    return Sample(network, description, shown, answers), path


def smooth(count: int, channels: int, size: tuple[int, int]) -> Array:
    """Images whose pixels are like their neighbours."""
    random = torch.Generator().manual_seed(0)
    coarse = 1.5 * torch.randn(count, channels, 4, 4, generator=random)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").numpy()


def micro(path: Path, picture: Array) -> Array:
    """The answer of tflite-micro, as it stands in the file's tensor."""
    pytest.importorskip("tflite_micro")
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(path))
    interpreter.set_input(picture, 0)
    interpreter.invoke()
    return np.asarray(interpreter.get_output(0))


def laid_out(pictures: Array) -> Array:
    """Images with their channels side by side, as the file takes them."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("case", CASES)
def test_agrees_and_prints_nothing(
    case: str, exported: dict[str, Made], capfd: pytest.CaptureFixture[str]
) -> None:
    made, path = exported[case]
    check_answers(open_file(path), made)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", CASES)
def test_tflite_micro_gives_the_same(case: str, exported: dict[str, Made]) -> None:
    made, path = exported[case]
    found = micro(path, laid_out(made.pictures[:1]))
    assert relative_error(found, made.answers[:1]) < 1e-4


def test_no_operator_that_a_converter_adds(exported: dict[str, Made], shipped: Made) -> None:
    """A ghost module has a concatenation. Three pixels stretched to seven are no broadcast."""
    from litert_files import operators_of

    for path in (exported["width 1.0"][1], shipped[1]):
        found = operators_of(path)
        assert found["CONV_2D"] + found["DEPTHWISE_CONV_2D"] == 78
        assert found["FULLY_CONNECTED"] == 12
        assert found["CONCATENATION"] == 20
        assert found["MUL"] == 13 and found["RESHAPE"] == 8 * 3
        others = {"AVERAGE_POOL_2D", "FULLY_CONNECTED", "MEAN", "LOGISTIC", "ADD"}
        known = {"CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION", "MUL", "RESHAPE"}
        assert set(found) == known | others
    assert operators_of(exported["grey 28x28"][1])["RESIZE_NEAREST_NEIGHBOR"] == 4


def test_int8_is_small_and_near_the_network(shipped: Made) -> None:
    made, path = shipped
    assert path.stat().st_size <= MOST_BYTES
    session = open_file(path)
    assert session.description == made.description
    found = session(made.pictures)
    assert found.dtype == np.float32
    assert np.sqrt(np.mean((found - made.answers) ** 2) / np.mean(made.answers**2)) < 0.2


def test_int8_in_tflite_micro(shipped: Made) -> None:
    """The two runtimes round in their own ways."""
    pytest.importorskip("tflite_micro")
    made, path = shipped
    arena = FORMATS["litert"].load().working_memory(path)
    assert arena is not None and arena <= MOST_ARENA
    from ai_edge_litert.interpreter import Interpreter

    one = Interpreter(model_content=path.read_bytes())
    one.allocate_tensors()
    first, last = one.get_input_details()[0], one.get_output_details()[0]
    step, zero = first["quantization"]
    picture = np.round(laid_out(made.pictures[:1]) / step + zero).clip(-128, 127).astype(np.int8)
    one.set_tensor(first["index"], picture)
    one.invoke()
    answer = one.get_tensor(last["index"]).astype(int)
    assert np.abs(answer - micro(path, picture)).max() <= 4


def test_int8_of_pixels(tmp_path: Path) -> None:
    made = sample(takes="pixels", pictures=12)
    description = replace(made.description, precision="int8")
    path = FORMATS["litert"].file(tmp_path, "int8")
    FORMATS["litert"].load_int8().quantize(made.network, description, made.pictures, path)
    found = open_file(path)(made.pictures)
    assert np.abs(found.sum(1) - 1).max() < 0.05
    # On the whole: the ranges give up rare large numbers for a finer step of all others.
    assert np.abs(found - made.answers).mean() < 0.05
    assert micro(path, laid_out(made.pictures[:1])).dtype == np.int8


def test_no_images_to_calibrate_on(tmp_path: Path) -> None:
    made, path = sample(pictures=0), tmp_path / "model.int8.tflite"
    with pytest.raises(InputError, match="calibration images and there are 0"):
        FORMATS["litert"].load_int8().quantize(made.network, made.description, made.pictures, path)
    assert not path.exists()


def test_an_exported_file_classifies(tmp_path: Path) -> None:
    value = export_weights(WEIGHTS, tmp_path / "out", formats=["litert"], say=lambda remark: None)
    (file,) = value["files"]
    classifier = open_classifier(Path(file["files"][0]))
    assert classifier.facts["format"] == "litert"
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    exact = open_classifier(WEIGHTS).logits(images).numpy()
    assert relative_error(classifier.logits(images).numpy(), exact) < 1e-4


def test_a_damaged_file_is_refused(exported: dict[str, Made], tmp_path: Path) -> None:
    data, path = exported["width 1.0"][1].read_bytes(), tmp_path / "a.tflite"
    for place in range(10, len(data), len(data) // 10):
        path.write_bytes(flipped(data, place))
        with pytest.raises(InputError, match="is damaged; copy it again"):
            open_file(path)
    for part in (b"", data[:100], data[: len(data) // 2], data[:-100], b"PK" + data[:1000]):
        path.write_bytes(part)
        with pytest.raises(InputError, match="was not written by ghostnet-small export"):
            open_file(path)


def body_of(path: Path) -> bytes:
    return path.read_bytes().rpartition(DIGEST)[0]


def test_offsets_that_lead_elsewhere_are_refused(exported: dict[str, Made], tmp_path: Path) -> None:
    """With a right digest, also where the file is trusted: then LiteRT's own check refuses it."""
    path = tmp_path / "a.tflite"
    body = body_of(exported["width 1.0"][1])
    for place in (0, *range(8, 1000, 140)):
        for wrong in (1, 0x7FFFFFF0):
            changed = body[:place] + struct.pack("<I", wrong) + body[place + 4 :]
            if changed == body:
                continue
            path.write_bytes(signed(changed))
            with pytest.raises(InputError):
                open_file(path)
    path.write_bytes(signed(struct.pack("<I", 0x7FFFFFF0) + body[4:]))
    for trust in (False, True):
        with pytest.raises(InputError, match=r"is damaged|is no network that LiteRT"):
            open_file(path, trust=trust)


def test_another_programs_file_is_refused(exported: dict[str, Made], tmp_path: Path) -> None:
    from ghostnet_small.deploy.litert.flatbuffer import Flatbuffer

    path = tmp_path / "a.tflite"
    other = Flatbuffer(int8=False)
    first = other.tensor("x", (1, 4), "float32")
    last = other.call("LOGISTIC", [first], other.tensor("y", (1, 4), "float32"))
    body, _ = other.finish(first, last, "another")
    path.write_bytes(body)
    with pytest.raises(InputError, match="was not written by ghostnet-small export"):
        open_file(path)
    path.write_bytes(signed(body))
    with pytest.raises(InputError, match="it does not describe its classes"):
        open_file(path)
    # Our description over another graph.
    ours = exported["width 1.0"][0].description
    other = Flatbuffer(int8=False)
    first = other.tensor("x", (1, 4), "float32")
    last = other.call("LOGISTIC", [first], other.tensor("y", (1, 4), "float32"))
    other.metadata("ghostnet_small", ours.as_json().encode())
    path.write_bytes(signed(other.finish(first, last, "another")[0]))
    with pytest.raises(InputError, match="is not what export of ghostnet-small"):
        open_file(path)
    with pytest.raises(InputError, match="has another input or output than it says"):
        open_file(path, trust=True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("steps", struct.pack("<f", 0.0)),
        ("steps", struct.pack("<f", float("nan"))),
        ("steps", struct.pack("<f", float("inf"))),
        ("steps", struct.pack("<f", -1.0)),
        ("zeros", struct.pack("<q", 1 << 40)),
        ("zeros", struct.pack("<q", -129)),
    ],
)
def test_a_scale_that_ends_the_process_is_refused(
    kind: str, value: bytes, shipped: Made, tmp_path: Path
) -> None:
    from ghostnet_small.deploy.litert.content import content_of
    from ghostnet_small.deploy.litert.graph import graph_for
    from ghostnet_small.deploy.litert.numbers import blank_int8

    made, good = shipped
    graph = graph_for(made.network, made.description)
    places = content_of(graph, blank_int8(graph), made.description)[1]
    body, path = body_of(good), tmp_path / "a.tflite"
    for name in ("picture", "blocks.1.ghost2.cheap.sum"):
        at, _ = getattr(places, kind)[name]
        path.write_bytes(signed(body[:at] + value + body[at + len(value) :]))
        with pytest.raises(InputError, match=rf"the (scale|zero) of {name}\)"):
            open_file(path)


def test_a_description_of_a_network_too_large_is_refused(
    exported: dict[str, Made], tmp_path: Path
) -> None:
    """It is not built, however large it says it is."""
    path = tmp_path / "a.tflite"
    body = body_of(exported["width 1.0"][1])
    assert body.count(b'"width": 1.0') == 1
    for width in (b"9e9", b"0.5", b"99 "):
        path.write_bytes(signed(body.replace(b'"width": 1.0', b'"width": ' + width)))
        with pytest.raises(InputError, match="is not what export of ghostnet-small"):
            open_file(path)
