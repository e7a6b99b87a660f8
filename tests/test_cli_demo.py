"""``demo`` as a user types it: from its first line to Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from demo_kit import tiny_networks, tiny_page
from export_kit import save_digits
from ghostnet_small.cli import main
from ghostnet_small.demo import runtime, site
from ghostnet_small.demo.chosen import Chosen, sha256
from ghostnet_small.files import signed_json


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights with a ready file, of which the server looks at nothing but the digest."""
    with tiny_networks():
        folder = save_digits(tmp_path_factory.mktemp("runs") / "digits")
        content = b"a network"
        (folder / "model.onnx").write_bytes(content)
        facts = {"sha256": sha256(content), "bytes": len(content)}
        record = {
            "weights": Chosen.read(folder, "last").identity(),
            "files": {"model.onnx": facts},
            "activation": None,
            "test_top1": None,
        }
        (folder / "bundle.json").write_text(signed_json(record))
        yield folder


@pytest.fixture(autouse=True)
def page(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "installed"
    folder.mkdir()
    with tiny_page(folder):
        yield


def free_port() -> int:
    """One that no program is given that asks for any: other tests' servers and clients do."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@contextmanager
def no_strays() -> Iterator[None]:
    """A signal that comes before the command's own handlers are there, or after, fails the test; it
    would end the process that runs all of them."""
    strays: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda number, frame: strays.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not strays


def run(port: int, stop: signal.Signals, *words: object) -> tuple[int, dict[str, bytes]]:
    """The status of ``demo``, and what it answered before ``stop`` came."""
    answers: dict[str, bytes] = {}
    ended = threading.Event()

    def visit() -> None:
        while not ended.is_set():
            try:
                for path in ("/", "/model.json", "/model.onnx", "/pictures/0.png"):
                    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    client.request("GET", path)
                    answers[path] = client.getresponse().read()
                    client.close()
            except ConnectionRefusedError:
                time.sleep(0.02)
                continue
            # Now it waits for the next request, with its own handlers in place.
            os.kill(os.getpid(), stop)
            return

    visitor = threading.Thread(target=visit)
    with no_strays():
        visitor.start()
        try:
            status = main(["demo", "--port", str(port), *map(str, words)])
        finally:
            ended.set()
            visitor.join()
    return status, answers


@pytest.mark.parametrize(("stop", "status"), ((signal.SIGINT, 130), (signal.SIGTERM, 143)))
def test_from_start_to_end(
    weights: Path, capsys: pytest.CaptureFixture[str], stop: signal.Signals, status: int
) -> None:
    port = free_port()
    before = signal.getsignal(signal.SIGTERM)
    found, answers = run(port, stop, weights)
    assert found == status and signal.getsignal(signal.SIGTERM) == before
    out, err = capsys.readouterr()
    assert out == f"digits: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert err == f"ghostnet-small: stopped by {stop.name}; the page is no longer served\n"
    assert answers["/"].startswith(b"<!doctype html>") and answers["/model.onnx"] == b"a network"
    about = json.loads(answers["/model.json"])
    assert about["name"] == "digits" and about["files"]["int8"] is None and not about["pictures"]
    # The port is free again.
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_pictures_and_json(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    port = free_port()
    status, answers = run(port, signal.SIGINT, weights, "--json", "--pictures", tmp_path)
    assert status == 130 and answers["/pictures/0.png"].startswith(b"\x89PNG")
    assert json.loads(answers["/model.json"])["pictures"] == [
        {"url": "pictures/0.png", "name": "red.png"}
    ]
    assert json.loads(capsys.readouterr().out) == {
        "url": f"http://127.0.0.1:{port}/",
        "model": "digits",
    }
    # Nothing is fetched that was not asked for.
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_who_names_a_model_of_the_hub_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert main(["demo", "hf-hub:owner/name", "--port", "0"]) == 2
    assert "model owner/name" in capsys.readouterr().err
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_is_refused_before_any_work(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def error(*words: object) -> str:
        assert main(["demo", *map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        return err

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # Weights that are not there would be found later.
        assert f"--port {port} is taken" in error(tmp_path / "gone", "--port", port)
    assert re.search("'65536' is not a whole number from 0 to 65535", error("--port", "65536"))
    assert "is not a folder" in error(tmp_path / "gone", "--port", 0)
    assert "does not exist" in error(weights, "--port", 0, "--pictures", tmp_path / "gone")
    monkeypatch.setattr(runtime, "ASSETS", tmp_path / "gone")
    assert "make demo-assets" in error(tmp_path / "gone", "--port", 0)
    monkeypatch.setattr(site, "PAGE", tmp_path / "gone")
    assert "page is not in" in error(tmp_path / "gone", "--port", 0)
