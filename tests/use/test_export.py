"""What an export keeps, refuses and leaves behind; the formats are fakes of milliseconds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostnet_small as gns
from export_kit import NETWORKS, FakeModule, save_digits, use_fakes
from ghostnet_small.data.dataset import normalize
from ghostnet_small.deploy import c_file, c_packages
from ghostnet_small.deploy.c import compiled
from ghostnet_small.deploy.c_packages import packed_c
from ghostnet_small.deploy.formats import FORMATS, Format, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.files import lock_folder
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.use.export import ExportFailed, export_weights
from makers import make_folder

Export = Callable[..., dict[str, Any]]
FLOAT = ["model.good", "model.goodw", "model.odd", "model.oddw"]
INT8 = ["model.int8.odd", "model.int8.oddw"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("weights") / "digits")


@pytest.fixture
def weights(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "weights"))


@pytest.fixture
def fakes() -> Iterator[tuple[FakeModule, FakeModule]]:
    with use_fakes() as modules:
        yield modules


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def export(weights: Path, said: list[str]) -> Export:
    return lambda **options: export_weights(weights, **options, say=said.append)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_that_were_run_and_compared(
    fakes: Any, export: Export, weights: Path, said: list[str]
) -> None:
    value = export()
    out = weights / "export"
    assert value["out"] == str(out) and names(out) == FLOAT
    assert value["compared_on"] == "the test split" and value["pictures"] == 40
    assert [one["files"] for one in value["files"]] == [
        [str(out / name) for name in FLOAT[:2]],
        [str(out / name) for name in FLOAT[2:]],
    ]
    for one in value["files"]:
        assert one["size_bytes"] == sum(Path(file).stat().st_size for file in one["files"])
        assert 0 < one["relative_error"] < one["bound"] and one["agreement"] == 100
        assert one["precision"] == "float32" and one["top1"] is None
    assert value["failed"] == [] and value["calibration"] == 0
    assert len(said) == 2 and "model.good" in said[0]
    # What the file is, from the file alone.
    session = open_file(out / "model.good")
    model, info = gns.load(weights)
    found = session.description
    assert (found.architecture, found.width) == ("ghostnetv3_small", 0.05)
    assert (found.classes, found.size) == (info.classes, info.size)
    assert (found.mean, found.std) == (info.mean, info.std)
    assert found.data["source"] == "digits" and found.data["limit"] == 64
    assert found.data["cache"] is None
    assert is_folded(NETWORKS[-1])
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    pictures = normalize(images, info.mean, info.std)
    with torch.no_grad():
        logits = model(pictures)
    assert np.allclose(session(pictures.numpy()), logits, rtol=1e-4, atol=1e-5)


def test_a_folder_of_exports_that_is_a_link_must_be_typed(
    fakes: Any, export: Export, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (weights / "export").symlink_to(mine)
    with pytest.raises(InputError, match=f"export is a link to {mine}"):
        export()
    monkeypatch.chdir(weights)
    with pytest.raises(InputError, match=f"export is a link to {mine}"):
        export_weights(Path(gns.list_weights()[0]), formats=["good"], say=print)
    assert names(mine) == []
    export(out=weights / "export")
    assert names(mine) == FLOAT
    # A file's name is given anew, and no link of that name is followed.
    (tmp_path / "notes").write_text("old")
    for name in FLOAT:
        (mine / name).unlink()
        (mine / name).symlink_to(tmp_path / "notes")
    export(out=mine, force=True)
    assert (tmp_path / "notes").read_text() == "old" and not (mine / FLOAT[0]).is_symlink()


def test_pixels_in_and_probabilities_out(fakes: Any, export: Export, weights: Path) -> None:
    value = export(formats=["good"], input="pixels")
    assert value["input"] == "pixels" and value["files"][0]["relative_error"] < 1e-4
    session = open_file(weights / "export" / "model.good")
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    model, info = gns.load(weights)
    with torch.no_grad():
        expected = model(normalize(images, info.mean, info.std)).softmax(1)
    answers = session(images.numpy())
    assert np.allclose(answers, expected, atol=1e-5) and np.allclose(answers.sum(1), 1)


def test_folded_weights_are_exported_too(fakes: Any, weights: Path, tmp_path: Path) -> None:
    model, info = gns.load(weights)
    folded = gns.reparameterize(model)
    gns.save_model(folded, info, tmp_path / "folded")  # type: ignore[arg-type]
    value = export_weights(tmp_path / "folded", tmp_path / "out", say=print)
    assert names(tmp_path / "out") == FLOAT and value["failed"] == []


def test_a_teacher_is_exported_where_the_format_can(
    fakes: Any, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gns.create_model("resnet18", in_channels=1, num_classes=3, upsample=16).eval()
    info = gns.ModelInfo(("a", "b", "c"), (8, 8), (0.3,), (0.4,), {})
    gns.save_model(model, info, tmp_path / "teacher")
    form = FORMATS["odd"]
    picky = type(form)("odd", ".odd", "", (".oddw",), ghostnets_only=True, made=fakes[1])  # type: ignore[call-arg]
    monkeypatch.setitem(FORMATS, "odd", picky)
    with pytest.raises(InputError, match=r"format odd takes GhostNets only, .* resnet18; leave"):
        export_weights(tmp_path / "teacher", formats=["good", "odd"], say=print)
    assert not (tmp_path / "teacher" / "export").exists()
    value = export_weights(tmp_path / "teacher", say=said.append)
    assert [one["format"] for one in value["files"]] == ["good"]
    assert any("odd takes GhostNets only" in remark for remark in said)
    # Its three classes are none of the digits'.
    assert value["compared_on"] == "random pixels"
    assert any("random pixels are compared" in remark for remark in said)


# What is not kept ----------------------------------------------------------------------------


def test_a_file_that_answers_otherwise_is_not_kept(
    fakes: tuple[FakeModule, FakeModule], export: Export, weights: Path
) -> None:
    good, odd = fakes
    good.factor = 1.001
    with pytest.raises(ExportFailed, match=r"not kept: model\.good differs .* by 1\.0e-03") as one:
        export()
    assert names(weights / "export") == FLOAT[2:]
    value = one.value.value
    assert [row["format"] for row in value["files"]] == ["odd"]
    assert [row["format"] for row in value["failed"]] == ["good"]
    # With --force what was there before stays.
    before = (weights / "export" / "model.odd").read_bytes()
    odd.factor = np.nan
    with pytest.raises(ExportFailed, match=r"differs .*; model\.odd differs .* by nan"):
        export(force=True)
    assert names(weights / "export") == FLOAT[2:]
    assert (weights / "export" / "model.odd").read_bytes() == before
    odd.factor = lambda answers: answers[:, :3]
    with pytest.raises(ExportFailed, match=r"in shape \(40, 3\), .* \(40, 10\)"):
        export(formats=["odd"], force=True)


@pytest.mark.parametrize("error", [RuntimeError("no such\noperator"), InputError("a cure")])
def test_a_library_that_fails_is_quoted(
    error: Exception, fakes: tuple[FakeModule, FakeModule], export: Export, weights: Path
) -> None:
    fakes[1].error = error
    with pytest.raises(ExportFailed) as failed:
        export()
    said = {"RuntimeError": "RuntimeError: no such", "InputError": "a cure"}[type(error).__name__]
    assert str(failed.value) == f"not kept: model.odd cannot be made ({said})"
    assert names(weights / "export") == FLOAT[:2]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left")])
def test_an_export_that_is_cut_short_leaves_nothing(
    error: BaseException, fakes: tuple[FakeModule, FakeModule], export: Export, weights: Path
) -> None:
    fakes[0].error = error
    with pytest.raises(type(error)):
        export()
    assert not (weights / "export").exists()
    # A killed one could not clear up; the next does.
    (weights / "export" / ".partial").mkdir(parents=True)
    (weights / "export" / ".partial" / "model.good").write_text("half")
    fakes[0].error = None
    export(formats=["good"])
    assert names(weights / "export") == FLOAT[:2]


def test_replacing_never_mixes_two_exports(
    fakes: Any, export: Export, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the process is killed, the companion is never that of another main file."""
    export(formats=["good"])
    out, real = weights / "export", os.replace
    for allowed in (0, 1):
        left = [allowed]

        def replace(source: Path, target: Path, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            export(formats=["good"], force=True)
        assert not (out / "model.good").exists()
    monkeypatch.setattr(os, "replace", real)
    export(formats=["good"], force=True)
    assert names(out) == FLOAT[:2]


# int8 ----------------------------------------------------------------------------------------


def test_int8_is_calibrated_on_training_pictures(
    fakes: tuple[FakeModule, FakeModule], export: Export, weights: Path, said: list[str]
) -> None:
    fakes[1].of_int8, fakes[1].factor = True, 1.01
    value = export(int8=True, calibration=20, overrides=["--data.limit=100"])
    assert names(weights / "export") == sorted([*FLOAT, *INT8])
    assert said[0] == "no int8 form of good"
    (samples,) = fakes[1].calibrations
    assert samples.shape == (20, 1, 8, 8) and samples.dtype == np.float32
    assert samples.min() == pytest.approx(-0.3 / 0.4)
    assert value["calibration"] == 20
    _, plain, int8 = value["files"]
    assert (plain["precision"], int8["precision"]) == ("float32", "int8")
    assert int8["relative_error"] == pytest.approx(0.01, rel=1e-3)
    # Nothing that could be tuned to is chosen on the test split.
    assert int8["top1"]["split"] == "validation" and int8["top1"]["pictures"] == 10
    assert int8["top1"]["before"] == int8["top1"]["after"] and int8["agreement"] == 100
    described = open_file(weights / "export" / "model.int8.odd").description
    assert described.precision == "int8" and described.data["limit"] == 100


def test_calibration_pictures_are_of_every_class_and_no_more_than_there_are(
    fakes: tuple[FakeModule, FakeModule], export: Export
) -> None:
    assert export(int8=True, formats=["odd"], input="pixels")["calibration"] == 58
    (samples,) = fakes[1].calibrations
    assert samples.dtype == np.uint8 and len(np.unique(samples, axis=0)) == 58


def test_int8_that_names_other_classes_is_not_kept(
    fakes: tuple[FakeModule, FakeModule], export: Export, weights: Path
) -> None:
    fakes[1].of_int8, fakes[1].factor = True, -1.0
    with pytest.raises(ExportFailed, match=r"model\.int8\.odd names .* 0\.0 % .* fewer than 80 %"):
        export(int8=True)
    assert names(weights / "export") == FLOAT


def test_int8_only_where_there_are_training_pictures(
    fakes: Any, weights: Path, said: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert export_weights(weights, out, int8=None, say=said.append)["calibration"] == 58
    assert names(out) == sorted([*FLOAT, *INT8])
    model, info = gns.load(weights)
    moved = replace(info, recipe={**info.recipe, "data": {"root": str(tmp_path / "gone")}})
    gns.save_model(model, moved, weights)
    said.clear()
    assert export_weights(weights, tmp_path / "none", int8=None, say=said.append)["fine_tune"] == 0
    assert names(tmp_path / "none") == FLOAT
    (remark,) = [one for one in said if "gone" in one]
    assert "random pixels" in remark and remark.endswith("of the data with --data.root for one")


def test_int8_without_training_pictures(fakes: Any, export: Export, weights: Path) -> None:
    cure = r"--int8 has no training images .*'gone' does not exist.* with --data\.root, or leave"
    with pytest.raises(InputError, match=cure):
        export(int8=True, overrides=["--data.root=gone"])
    other = make_folder(weights.parent / "data", size=8, grey=True, train=30)
    with pytest.raises(InputError, match=r"3 classes \(apple.* does not know: .* --data\.root"):
        export(int8=True, overrides=[f"--data.root={other}"])
    with pytest.raises(InputError, match=r"--int8 has no meaning for good; leave .* odd"):
        export(int8=True, formats=["good"])
    assert not (weights / "export").exists()


# Flash and working memory ----------------------------------------------------------------------


def test_a_file_past_a_limit_is_not_kept(
    fakes: Any, export: Export, weights: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostnet_small.use.export.advice", lambda *words: "the advice")
    (good, odd) = export()["files"]
    for one in (good, odd):
        assert (one["flash_bytes"], one["flash_counted"]) == (one["size_bytes"], "the file")
        assert one["ram_bytes"] is None
    said.clear()
    export(ram="1kB", force=True)
    remarks = [one for one in said if "not known" in one]
    assert len(remarks) == 2 and "of model.good is not known, so --ram is not" in remarks[0]

    def flash(self: FakeModule, path: Path) -> tuple[int, str]:
        return (100 if "int8" in path.name else 1000), "counted"

    monkeypatch.setattr(FakeModule, "flash", flash, raising=False)
    monkeypatch.setattr(FakeModule, "working_memory", lambda *words: 64, raising=False)
    shutil.rmtree(weights / "export")
    # The device gets the int8 file where there is one.
    with pytest.raises(ExportFailed) as failed:
        export(int8=True, flash=500, ram=64)
    assert str(failed.value) == (
        "not kept: model.good needs 1,000 bytes of flash (counted), and --flash allows 500; "
        "the advice"
    )
    assert names(weights / "export") == sorted([*FLOAT[2:], *INT8])
    value = failed.value.value
    assert [one["flash_bytes"] for one in value["files"]] == [1000, 100]
    assert value["failed"][0]["ram_bytes"] == 64
    with pytest.raises(ExportFailed, match=r"int8\.odd needs 64 bytes of RAM, .* 63; the a"):
        export(int8=True, formats=["odd"], ram=63, force=True)


def test_limits_that_are_no_sizes(fakes: Any, export: Export, weights: Path) -> None:
    with pytest.raises(InputError, match="--flash '450k' is no size"):
        export(flash="450k")
    assert not (weights / "export").exists()


# Packages ------------------------------------------------------------------------------------


def test_packages_hold_the_c_file_that_was_compared(
    export: Export, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "FLAGS", ("-std=c99", "-O0", "-fPIC", "-shared"))
    made, quantize = list[Path](), c_file.quantize

    def counted(*words: Any) -> None:
        made.append(words[3])
        quantize(*words)

    monkeypatch.setattr(c_file, "quantize", counted)
    value = export(formats=["cmake", "c", "arduino"], int8=True, calibration=20)
    out = weights / "export"
    assert names(out) == [
        *("model.arduino.zip", "model.c", "model.cmake.zip", "model.h", "model.int8.arduino.zip"),
        *("model.int8.c", "model.int8.cmake.zip", "model.int8.h"),
    ]
    assert len(made) == 1
    found = {(one["format"], one["precision"]): one for one in value["files"]}
    for (name, precision), one in found.items():
        c = found["c", precision]
        for key in ("relative_error", "top1", "flash_bytes", "flash_counted", "ram_bytes"):
            assert one[key] == c[key], (name, key)
        if name != "c":
            source, header = packed_c(Path(one["files"][0]))
            assert [source, header] == [Path(file).read_text() for file in c["files"]]
            assert one["size_bytes"] == Path(one["files"][0]).stat().st_size
    assert (
        f"WORKSPACE {found['cmake', 'int8']['ram_bytes']}\n" in (out / "model.int8.h").read_text()
    )
    before = (out / "model.cmake.zip").read_bytes()
    (out / "model.c").unlink()
    export(formats=["cmake"], force=True)
    assert (out / "model.cmake.zip").read_bytes() == before and not (out / "model.c").exists()
    with pytest.raises(InputError, match=r"is that of model\.int8\.c: write it with export"):
        gns.evaluate(out / "model.int8.cmake.zip")
    # A package that holds another file is not kept, nor is one of a C file that fails.
    real = c_packages.pack
    monkeypatch.setattr(c_packages, "pack", lambda source, *rest: real(source + "\n", *rest))
    with pytest.raises(ExportFailed, match=r"cmake\.zip holds another C file than the one that"):
        export(formats=["cmake"], force=True)
    assert (out / "model.cmake.zip").read_bytes() == before


# What is refused -----------------------------------------------------------------------------


def test_nothing_is_overwritten_unless_it_is_said(
    fakes: Any, export: Export, weights: Path
) -> None:
    export()
    out = weights / "export"
    (out / "model.good").unlink()
    before = {path: path.read_bytes() for path in out.iterdir()}
    made = len(NETWORKS)
    for formats in (["all"], ["good"]):
        with pytest.raises(InputError) as refused:
            export(formats=formats)
        there = [name for name in FLOAT[1:] if formats == ["all"] or "good" in name]
        assert f"holds {', '.join(there)} already; give --force" in str(refused.value)
    assert {path: path.read_bytes() for path in out.iterdir()} == before and len(NETWORKS) == made
    export(force=True)
    assert names(out) == FLOAT
    assert (out / "model.oddw").read_bytes() != before[out / "model.oddw"]


def test_places_that_cannot_be(fakes: Any, export: Export, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a folder to write to"):
        export(out=tmp_path / "file")
    (tmp_path / "out" / "model.odd").mkdir(parents=True)
    with pytest.raises(InputError, match=r"folders called model\.odd"):
        export(out=tmp_path / "out", force=True)
    handle = lock_folder(tmp_path)
    try:
        with pytest.raises(InputError, match="another process writes into"):
            export(out=tmp_path)
    finally:
        os.close(handle)
    with pytest.raises(InputError, match=r"runs/NAME"):
        export_weights(tmp_path / "nowhere", say=print)


def test_formats_that_are_missing(
    fakes: Any, export: Export, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Format("absent", ".absent", "absent", modules=("no_such_module",), extra="more")
    monkeypatch.setitem(FORMATS, "absent", absent)
    with pytest.raises(InputError, match=r"needs no_such_module, .* 'ghostnet-small\[more\]'"):
        export(formats=["good", "absent"])
    with pytest.raises(InputError, match="the nearest is good"):
        export(formats=["god"])
    assert said == []
    value = export()
    assert [one["format"] for one in value["files"]] == ["good", "odd"]
    assert "absent (pip install 'ghostnet-small[more]')" in said[0]


RESIZED = "the images are 8x8 pixels; they are resized to the 12x12 that the model was trained on"
CONVERTED = "the images are in colour; they are converted to the grey that the model was trained on"


def test_data_that_are_gone_or_of_another_form(
    fakes: Any, weights: Path, said: list[str], tmp_path: Path
) -> None:
    data = make_folder(tmp_path / "data", classes=("a", "b"), size=8)
    model = gns.create_model("ghostnetv3_small", width=0.05, in_channels=1, num_classes=2).eval()
    recipe = {"data": {"root": str(data), "validation": 0}}
    info = gns.ModelInfo(("a", "b"), (12, 12), (0.3,), (0.4,), recipe)
    gns.save_model(model, info, tmp_path / "ab")
    export_weights(tmp_path / "ab", formats=["good"], say=said.append)
    # Pictures of another size and colour become what the network takes, said once.
    assert said.count(RESIZED) == said.count(CONVERTED) == 1
    data.rename(tmp_path / "elsewhere")
    value = export_weights(tmp_path / "ab", formats=["good"], force=True, say=said.append)
    assert value["compared_on"] == "random pixels" and value["pictures"] == 40
    with pytest.raises(InputError, match="'nowhere' does not exist"):
        export_weights(
            *(tmp_path / "ab", tmp_path / "out"), overrides=["--data.root=nowhere"], say=print
        )
