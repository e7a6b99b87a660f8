"""``demo`` as a user types it: from its first line to Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


class Ended(NamedTuple):
    """What a command left: its status, what it printed, and what it answered while it ran."""

    status: int
    out: str
    err: str
    answers: dict[str, bytes]


# A process of its own: a signal must not come to the one that runs all tests. What is asked of the
# hub's client, and the handlers of signals, are as before when the command has ended.
CHILD = """
import os, signal, sys
from pathlib import Path
from demo_kit import tiny_networks, tiny_page
from ghostnet_small.cli import main
place = Path(sys.argv[1])
place.mkdir()
before = signal.getsignal(signal.SIGTERM)
with tiny_networks(), tiny_page(place):
    status = main(sys.argv[2:])
assert signal.getsignal(signal.SIGTERM) == before
(place / "offline").write_text(os.environ.get("HF_HUB_OFFLINE", "unset"))
sys.exit(status)
"""


def run(place: Path, port: int, stop: signal.Signals, *words: object) -> Ended:
    """``demo`` from its start to its end by ``stop``, which comes once it has answered."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", CHILD, str(place), "demo", "--port", str(port)]
    with subprocess.Popen(
        [*command, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        answers = visit(port, child)
        child.send_signal(stop)
        out, err = child.communicate(timeout=60)
    return Ended(child.returncode, out, err, answers)


def visit(port: int, child: subprocess.Popen[str]) -> dict[str, bytes]:
    """What the server of ``child`` answers, once it does."""
    answers: dict[str, bytes] = {}
    while child.poll() is None:
        try:
            for path in ("/", "/model.json", "/model.onnx", "/pictures/0.png"):
                client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                client.request("GET", path)
                answers[path] = client.getresponse().read()
                client.close()
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    return answers


@pytest.mark.parametrize(("stop", "status"), ((signal.SIGINT, 130), (signal.SIGTERM, 143)))
def test_from_start_to_end(
    weights: Path, tmp_path: Path, stop: signal.Signals, status: int
) -> None:
    port = free_port()
    ended = run(tmp_path / "place", port, stop, weights)
    assert ended.status == status, ended.err
    assert ended.out == f"digits: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert ended.err == f"ghostnet-small: stopped by {stop.name}; the page is no longer served\n"
    assert ended.answers["/"].startswith(b"<!doctype html>")
    assert ended.answers["/model.onnx"] == b"a network"
    about = json.loads(ended.answers["/model.json"])
    assert about["name"] == "digits" and about["files"]["int8"] is None
    assert about["drawn"] and [one["name"] for one in about["pictures"]] == list("0123456789")
    assert ended.answers["/pictures/0.png"].startswith(b"\x89PNG")
    # The port is free again.
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_pictures_and_json(weights: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    port, place = free_port(), tmp_path / "place"
    ended = run(place, port, signal.SIGINT, weights, "--json", "--pictures", tmp_path)
    assert ended.status == 130, ended.err
    assert ended.answers["/pictures/0.png"].startswith(b"\x89PNG")
    about = json.loads(ended.answers["/model.json"])
    assert about["pictures"] == [{"url": "pictures/0.png", "name": "red.png"}]
    assert not about["drawn"]
    assert json.loads(ended.out) == {"url": f"http://127.0.0.1:{port}/", "model": "digits"}
    # Nothing is fetched that was not asked for.
    assert (place / "offline").read_text() == "1"


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
