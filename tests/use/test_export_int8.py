"""Parts are kept in float32 where an int8 file loses too much, and no more than that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c_kit import deployable, pictures
from ghostnet_small.deploy.formats import Format
from ghostnet_small.use import export_int8
from ghostnet_small.use.export_int8 import ALLOWED, Quantizer


class Made:
    """Stands for a format's module and for the reference: a file loses what ``lost`` says of how
    many parts were kept when it was written."""

    def __init__(self, lost: dict[int, float]) -> None:
        self.lost, self.kept = lost, list[list[str]]()

    def quantize(self, *words: Any) -> None:
        self.kept.append(list(words[4]) if len(words) > 4 else [])

    def compare(self, session: object, precision: str) -> dict[str, Any]:
        assert precision == "int8"
        return {"top1": {"before": 90.0, "after": 90.0 - self.lost[len(self.kept[-1])]}}


def written(
    lost: dict[int, float], monkeypatch: pytest.MonkeyPatch, mixed: bool = True
) -> tuple[Made, dict[str, Any], list[str]]:
    network, description = deployable(size=(8, 8), int8=True)
    made, said = Made(lost), list[str]()
    monkeypatch.setattr(Format, "load_int8", lambda form: made)
    monkeypatch.setattr(export_int8, "open_file", lambda path, threads: None)
    samples = pictures(description, 8)
    quantizer = Quantizer(network, description, samples, made, 1, said.append)  # type: ignore[arg-type]
    form = Format("made", ".made", "made", int8="made", mixed=mixed)
    return made, quantizer.write(form, Path("model.made")), said


def test_nothing_is_kept_where_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found, said = written({0: ALLOWED}, monkeypatch)
    assert made.kept == [[]] and found["kept_in_float"] == [] and not said
    assert "reliefs" not in found


def test_twice_as_many_are_kept_until_it_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found, said = written({0: 2.0, 1: 1.0, 2: 0.5, 4: 0.2}, monkeypatch)
    assert [len(kept) for kept in made.kept] == [0, 1, 2, 4]
    best = sorted(found["reliefs"], key=lambda part: (found["reliefs"][part], part))
    assert found["kept_in_float"] == best[:4]
    assert found["error_everywhere"] > min(found["reliefs"].values())
    assert "2.00 points" in said[0] and best[0] in said[0]


def test_the_best_is_written_again_where_nothing_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {number: 1.0 for number in (0, 1, 2, 4, 8, 16, 32)} | {4: 0.6}
    made, found, _ = written(lost, monkeypatch)
    assert [len(kept) for kept in made.kept] == [0, 1, 2, 4, 8, 16, 32, 4]
    assert len(found["kept_in_float"]) == 4
    assert np.isclose(found["top1"]["after"], 89.4)


def test_c_has_no_parts_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found, _ = written({0: 5.0}, monkeypatch, mixed=False)
    assert made.kept == [[]] and found["kept_in_float"] == []
