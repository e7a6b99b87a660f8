from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy_kit import Sample, check_answers, export, flipped
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.errors import InputError

pytestmark = pytest.mark.skipif(
    bool(FORMATS["executorch"].missing()), reason="executorch is not installed"
)
# An export takes ten seconds, so these have more than one property each.
CASES = {
    "width 1.0": {},
    "width 2.8, grey 28x28, pixels": {
        **{"width": 2.8, "channels": 1, "size": 28, "shallow": True},
        **{"classes": 7, "takes": "pixels"},
    },
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Sample, Path]]:
    return {
        case: export("executorch", values, tmp_path_factory.mktemp("executorch"))
        for case, values in CASES.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_agrees_and_prints_nothing(
    case: str,
    exported: dict[str, tuple[Sample, Path]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    made, path = exported[case]
    check_answers(open_file(path), made)
    assert capfd.readouterr() == ("", "")


def test_xnnpack_runs_all(exported: dict[str, tuple[Sample, Path]]) -> None:
    """A kernel of ExecuTorch's own would be named in the file.

    At 28x28 some gates are stretched from three pixels to seven. Pixels become floats outside.
    """
    floats, pixels = (exported[case][1].read_bytes() for case in CASES)
    assert b"XnnpackBackend" in floats
    assert b"aten::" not in floats and b"dim_order_ops::" not in floats
    assert b"aten::" not in pixels


def test_sessions_with_other_threads_take_turns(exported: dict[str, tuple[Sample, Path]]) -> None:
    made, path = exported["width 1.0"]
    one, two = open_file(path, threads=1), open_file(path, threads=2)
    for session in (one, two, one, two, two, one):
        check_answers(session, made)


def test_answers_are_the_callers_own(exported: dict[str, tuple[Sample, Path]]) -> None:
    made, path = exported["width 1.0"]
    session = open_file(path)
    first = session(made.pictures[:1])
    kept = first.copy()
    session(made.pictures[1:3])
    assert (first == kept).all()
    assert session(made.pictures[:0]).shape == (0, 10)
    # Memory that is not in a row, as cuts of an array are.
    flipped_twice = made.pictures[:, :, ::-1].copy()[:, :, ::-1]
    assert np.array_equal(session(flipped_twice[:1]), kept)


def test_a_damaged_file_is_refused(
    exported: dict[str, tuple[Sample, Path]], tmp_path: Path
) -> None:
    data, path = exported["width 1.0"][1].read_bytes(), tmp_path / "a.pte"
    for place in range(10, len(data), len(data) // 10):
        path.write_bytes(flipped(data, place))
        with pytest.raises(InputError, match="is damaged; copy it again"):
            open_file(path)
    for part in (b"", data[:100], data[: len(data) // 2], data[:-100], b"PK" + data[:1000]):
        path.write_bytes(part)
        with pytest.raises(InputError, match="was not written by ghostnet-small export"):
            open_file(path)
