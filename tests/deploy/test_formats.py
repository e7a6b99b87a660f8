from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostnet_small.deploy import formats
from ghostnet_small.deploy.formats import (
    FORMATS,
    PACKAGES,
    Format,
    chosen_formats,
    format_of,
    open_file,
)
from ghostnet_small.deploy.session import relative_error
from ghostnet_small.errors import InputError

FILES = {
    "torch": ["model.pt2"],
    "onnx": ["model.onnx", "model.int8.onnx"],
    "openvino": ["model.xml model.bin", "model.int8.xml model.int8.bin"],
    "executorch": ["model.pte", "model.int8.pte"],
    "ncnn": ["model.ncnn.param model.ncnn.bin"],
    "litert": ["model.tflite", "model.int8.tflite"],
    "c": ["model.c model.h", "model.int8.c model.int8.h"],
}


def test_each_format_has_files_of_its_own_that_lead_back_to_it() -> None:
    assert list(FORMATS) == list(FILES)
    for name, expected in FILES.items():
        form = FORMATS[name]
        found = []
        for precision in ("float32", "int8") if form.int8 else ("float32",):
            main = form.file(Path("out"), precision)
            assert format_of(main) is form
            found.append(" ".join(file.name for file in form.files(main)))
            assert all(file.parent == Path("out") for file in form.files(main))
        assert found == expected
    assert format_of(Path("model.bin")) is None
    every = [file for files in FILES.values() for pair in files for file in pair.split()]
    assert len(set(every)) == len(every)


ABSENT = Format("absent", ".absent", "absent", modules=("no_such_module", "json"), extra="more")


def test_what_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "absent", ABSENT)
    for ask in (
        lambda: chosen_formats(["torch", "absent"]),
        lambda: open_file(Path("model.absent")),
        ABSENT.load,
    ):
        with pytest.raises(InputError, match=r"needs no_such_module, which") as refused:
            ask()
        assert str(refused.value).endswith("pip install 'ghostnet-small[more]'")
    assert not set(PACKAGES.values()) & set(chosen_formats(["all"]))
    assert ABSENT not in chosen_formats(["all"])
    assert FORMATS["torch"] in chosen_formats(["all"])


def test_names() -> None:
    torch, c = FORMATS["torch"], FORMATS["c"]
    assert chosen_formats(["c", "torch", "c"]) == [c, torch]
    assert chosen_formats(["zephyr", "c"]) == [PACKAGES["zephyr"], c]
    assert PACKAGES["esp-idf"].file(Path("out"), "int8") == Path("out/model.int8.esp-idf.zip")
    for name, near in (("onx", "onnx"), ("pt2", "torch"), ("", "torch"), ("all", "c")):
        with pytest.raises(InputError, match=f"format '{name}' is not known; the nearest is"):
            chosen_formats([name, "c"])
        assert near in FORMATS
    with pytest.raises(InputError, match="the nearest is openvino, of torch, onnx, openvino"):
        chosen_formats(["opnvino"])


def test_files_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"model\.tfl is no exported network; .*\.onnx, \.xml"):
        open_file(tmp_path / "model.tfl")
    monkeypatch.setattr(formats.Format, "load", lambda self: formats)  # any module with open_file
    with pytest.raises(InputError, match=r"model\.xml is not there; export the run"):
        open_file(tmp_path / "model.xml")
    (tmp_path / "model.xml").touch()
    with pytest.raises(InputError, match=r"model\.bin is not there; .* copy it beside model\.xml"):
        open_file(tmp_path / "model.xml")


def test_relative_error_by_hand() -> None:
    exact = np.array([[1.0, -4.0], [2.0, 0.5]])
    found = np.array([[1.0, -4.0], [1.5, 0.75]], np.float32)
    assert relative_error(found, exact) == 0.125
    assert relative_error(exact, exact) == 0
    found[0, 0] = np.nan
    assert not relative_error(found, exact) <= 1e9


def test_no_runtime_tells_its_maker(tmp_path: Path) -> None:
    """Each would leave a number for this machine, by which uses are counted."""
    for name in ("onnxruntime", "openvino", "nncf"):
        pytest.importorskip(name)
    program = "import ghostnet_small.deploy, onnxruntime, openvino, nncf; print('imported')"
    place = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    # CI is not told of either.
    place.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=place, capture_output=True, text=True
    )
    assert done.stdout == "imported\n", done.stderr
    assert list(tmp_path.rglob("*")) == []
