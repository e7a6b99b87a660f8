"""A study on a cluster of two Ray nodes on this machine, one of which may be killed.

All of Ray is in processes of its own: what it leaves open, and warns of, is not this one's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ghostnet_small.cli import main
from ghostnet_small.study import ray_engine
from small_study import SETTINGS, plain_rows

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
PROGRAM = [sys.executable, "-m", "ghostnet_small"]

# Four runs, of which one is taught: more than the nodes can train at a time.
STUDY = (
    f"name: four{SETTINGS}"
    + """\
runs:
  teacher:
students:
  baseline: plain
  strategies:
    plain: {seeds: [0, 1]}
    kd: {seeds: [0], teachers: [teacher]}
"""
)
NAMES = ["teacher", "plain-s0", "plain-s1", "kd-s0"]
# Two of them, one for each node.
PAIR = (
    f"name: four{SETTINGS}runs:\n  teacher:\nstudents:\n  strategies: {{plain: {{seeds: [0]}}}}\n"
)

# Two nodes of a core each; a line with the address and the second one's process, then it waits.
CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
node = cluster.add_node(num_cpus=1)
raylet = node.all_processes["raylet"][0].process
print(json.dumps({"address": cluster.address, "raylet": raylet.pid}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """One for both tests, of which the second ends a node."""
    place = tmp_path_factory.mktemp("cluster")
    with (
        (place / "cluster.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None and process.stdin is not None
        line = process.stdout.readline()
        assert line.startswith("{"), (place / "cluster.log").read_text() + line
        yield json.loads(line)
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def local_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What the local engine makes of the study."""
    place = tmp_path_factory.mktemp("local")
    (place / "study.yaml").write_text(STUDY)
    words = [*PROGRAM, "study", "study.yaml", "--out", "out"]
    subprocess.run(words, cwd=place, check=True, capture_output=True)
    return plain_rows(place / "out" / "results.jsonl")


def command(place: Path, address: object, *more: str, study: str = STUDY) -> subprocess.Popen[str]:
    (place / "study.yaml").write_text(study)
    words = [*PROGRAM, "study", "study.yaml", "--out", "out", "--json"]
    return subprocess.Popen(
        [*words, "--engine", "ray", "--address", str(address), *more],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def trainings(place: Path) -> list[int]:
    """Processes that train below ``place``."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
            here = os.readlink(file.with_name("cwd"))
        except OSError:
            continue
        if b"ghostnet_small" in words and b"train" in words and here == str(place):
            found.append(int(file.parent.name))
    return found


@needs_ray
@pytest.mark.timeout(1500)
def test_a_cluster_trains_what_this_machine_would(
    tmp_path: Path, cluster: dict[str, object], local_rows: list[dict[str, object]]
) -> None:
    process = command(tmp_path, cluster["address"])
    # Stopped by Ctrl-C, its tasks save and end.
    while not any((tmp_path / "out").glob("runs/*/state.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    assert "stopped by SIGINT, all that ran is saved; go on with: " in err.splitlines()[-1]
    assert trainings(tmp_path) == []
    # A task that was about to end when the signal came has ended by itself.
    for file in (tmp_path / "out" / "logs").iterdir():
        log = file.read_text()
        assert "stopped by SIGTERM" in log or "\nnext " in log, log

    process = command(tmp_path, cluster["address"])
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    value = json.loads(out)
    assert value["together"] == 2 and value["failed"] == []
    rows = plain_rows(tmp_path / "out" / "results.jsonl")
    assert [row["study"]["run"] for row in rows] == NAMES
    assert rows == local_rows
    assert not list((tmp_path / "out").glob(".*"))


@needs_ray
@pytest.mark.timeout(1500)
def test_a_node_dies_and_its_runs_go_on_elsewhere(
    tmp_path: Path, cluster: dict[str, object], local_rows: list[dict[str, object]]
) -> None:
    process = command(tmp_path, cluster["address"], study=PAIR)
    # Both nodes are at work.
    while len(list((tmp_path / "out").glob("runs/*/state.safetensors"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(int(str(cluster["raylet"])), signal.SIGKILL)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    assert json.loads(out)["failed"] == []
    rows = plain_rows(tmp_path / "out" / "results.jsonl")
    assert [row["study"]["run"] for row in rows] == NAMES[:2]
    assert rows == local_rows[:2]
    assert trainings(tmp_path) == []


# Without a cluster ----------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["study", "study.yaml", "--out", "out", *more]) == 2
    out, err = capsys.readouterr()
    assert out == "" and os.listdir() == ["study.yaml"]
    (line,) = err.splitlines()
    return line


@needs_ray
def test_no_cluster_at_an_address(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        line = refused(capsys, "--engine", "ray", "--address", address)
    assert f"no Ray cluster answers at {address}" in line
    assert "ray start --head" in line and "--engine local" in line


def test_without_ray(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    line = refused(capsys, "--engine", "ray")
    assert "pip install 'ghostnet-small[ray]'" in line and "--engine local" in line


def test_an_address_without_ray(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--address", "here:1")
    assert "--address here:1" in line and "--engine ray" in line


def test_a_node_that_does_not_share_the_folder(tmp_path: Path) -> None:
    answer = ray_engine._answer
    asked = tmp_path / ".token"
    assert "No such file" in answer(str(asked), str(tmp_path / "answer"), str(tmp_path))
    asked.write_text("another")
    assert "another file" in answer(str(asked), str(tmp_path / "answer"), str(tmp_path))
    asked.write_text("token")
    assert "no folder" in answer(str(asked), str(tmp_path / "answer"), str(tmp_path / "no"))
    assert answer(str(asked), str(tmp_path / "answer"), str(tmp_path)) == ""
    assert (tmp_path / "answer").read_text() == "token"
