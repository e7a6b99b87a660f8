from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy_kit import CASES, Sample, check_answers, export, flipped
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.ncnn_file import export as export_ncnn
from ghostnet_small.deploy.ncnn_file import signed
from ghostnet_small.errors import InputError

pytestmark = pytest.mark.skipif(
    bool(FORMATS["ncnn"].missing()), reason="ncnn or pnnx is not installed"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Path]:
    return export("ncnn", CASES["width 1.0"], tmp_path_factory.mktemp("ncnn"))


@pytest.fixture
def copied(plain: tuple[Sample, Path], tmp_path: Path) -> Path:
    """Of the two files, to be spoiled."""
    for file in FORMATS["ncnn"].files(plain[1]):
        shutil.copy(file, tmp_path)
    return tmp_path / plain[1].name


@pytest.mark.parametrize("case", CASES)
def test_agrees_and_prints_nothing(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made, path = export("ncnn", CASES[case], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.ncnn.bin",
        "model.ncnn.param",
    ]
    check_answers(open_file(path), made)
    assert capfd.readouterr() == ("", "")


def test_two_threads_agree(plain: tuple[Sample, Path]) -> None:
    check_answers(open_file(plain[1], threads=2), plain[0])


def test_both_files_may_be_renamed(plain: tuple[Sample, Path], copied: Path) -> None:
    weights = copied.with_name("model.ncnn.bin")
    path = copied.rename(copied.with_name("cats.ncnn.param"))
    with pytest.raises(InputError, match=r"cats\.ncnn\.bin is not there"):
        open_file(path)
    weights.rename(copied.with_name("cats.ncnn.bin"))
    check_answers(open_file(path), plain[0])


def test_changed_layers_are_refused(copied: Path) -> None:
    data = copied.read_bytes()
    # One sets another size of a convolution, which would have ncnn read past the weights.
    spoiled = [data.replace(b"0=16 1=3", b"0=99 1=3"), data.replace(b'"format": 1', b'"format": 2')]
    spoiled += [flipped(data, place) for place in range(10, len(data), len(data) // 10)]
    for part in spoiled:
        copied.write_bytes(part)
        with pytest.raises(InputError, match=r"param is damaged; copy it again|is no ncnn network"):
            open_file(copied)


def test_a_file_cut_short_or_of_another_program_is_refused(copied: Path) -> None:
    data = copied.read_bytes()
    layers = data[: data.index(b"# ghostnet_small")]
    for part in (layers, data[:2000], data[: data.index(b"# digest")]):
        copied.write_bytes(part)
        with pytest.raises(InputError, match="was not written by ghostnet-small export"):
            open_file(copied)
    for other in (b"", b"\x80\x04 no text", b"{}"):
        copied.write_bytes(other)
        with pytest.raises(InputError, match="is no ncnn network"):
            open_file(copied)


def test_layers_of_another_ncnn_are_refused(
    plain: tuple[Sample, Path], copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, weights = copied.read_text(), copied.with_name("model.ncnn.bin").read_bytes()
    layers = text[: text.index("# ghostnet_small")].replace("Sigmoid", "Tomorrow")
    layers = layers.replace("InnerProduct", "Tomorrow")
    copied.write_text(signed(layers, weights, plain[0].description))
    with pytest.raises(InputError, match=r"has layers that ncnn 1\.0\.\d+ does not know"):
        open_file(copied)
    assert capfd.readouterr() == ("", "")


def test_what_pnnx_says_of_its_failure_is_told(
    plain: tuple[Sample, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = tmp_path / "pnnx"
    converter.write_text("#!/bin/sh\necho no such operator; exit 1\n")
    converter.chmod(0o755)
    monkeypatch.setattr("pnnx.EXEC_PATH", str(converter))
    made, path = plain[0], tmp_path / "model.ncnn.param"
    with pytest.raises(InputError, match=r"pnnx cannot convert this network.*no such operator"):
        export_ncnn(made.network, made.description, path)
    assert not path.exists()


def test_weights_that_are_damaged_or_anothers_are_refused(copied: Path) -> None:
    weights = copied.with_name("model.ncnn.bin")
    data = weights.read_bytes()
    for part in (b"", data[:-4], data + b"0000", flipped(data, len(data) // 2)):
        weights.write_bytes(part)
        with pytest.raises(InputError, match=r"bin is damaged or belongs to another export"):
            open_file(copied)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.ncnn\.bin is not there"):
        open_file(copied)
