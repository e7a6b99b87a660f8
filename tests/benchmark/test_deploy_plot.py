"""The picture of accuracy against latency: what is in it, and that its labels can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ghostnet_small.benchmark import deploy_plot
from ghostnet_small.benchmark.deploy_plot import COLOURS, draw_deploy, points_of
from ghostnet_small.run import run_plots


def row(
    network: str, runtime: str, top1: float | None, ms: float, peer: str | None = None, **more: Any
) -> dict[str, Any]:
    about = {"network": network, "runtime": runtime, "top1": top1, "peer": peer}
    return {**about, "precision": "float32", "latency": {"1": {"median_ms": ms}}, **more}


# As they were once measured, close to each other.
FLOAT = {"c": 0.19, "onnx": 0.35, "ncnn": 0.4, "executorch": 0.46, "openvino": 0.54, "torch": 5.3}
INT8 = {"c": 0.15, "onnx": 0.3, "openvino": 0.5, "executorch": 0.41}
VALUE: dict[str, Any] = {
    "threads": 1,
    "split": "test",
    "device": "A CPU, 2 cores",
    "commit": "fedcba98",
    "candidates": [
        *(row("GN-S 1.0", runtime, 86.7, ms) for runtime, ms in FLOAT.items()),
        *(row("GN-S 1.0", runtime, 86.5, ms, precision="int8") for runtime, ms in INT8.items()),
        row("GN-S 1.0", "eager", 86.7, 8.8),
        row("ResNet-20", "onnx", 92.6, 0.4, "resnet20"),
        row("ResNet-20", "ncnn", 92.6, 0.33, "resnet20"),
        row("ResNet-20", "onnx", None, 0.1, "resnet20", precision="int8"),
        row("ShuffleNetV2 x0.5", "onnx", 90.13, 0.22, "shufflenetv2_x0_5"),
        # Neither was timed, or has an accuracy.
        row("GN-S 1.0", "ncnn", 86.7, 1.0, latency={}),
        row("GN-S 1.0", "ncnn", None, 1.0),
    ],
}


def test_ours_are_all_there_and_each_peer_once() -> None:
    points = points_of(VALUE)
    ours = [point for point in points if not point.peer]
    assert len(ours) == len(FLOAT) + len(INT8) + 1
    assert [point.filled for point in ours].count(False) == len(INT8)
    by_label = {point.label: point for point in points}
    assert by_label["c int8  0.15 ms"].colour == by_label["c  0.19 ms"].colour == COLOURS["c"]
    assert "torch  5.3 ms" in by_label and len(set(COLOURS.values())) == len(COLOURS)
    peers = [(point.label, point.top1) for point in points if point.peer]
    assert peers == [
        ("ResNet-20 in ncnn  0.33 ms", 92.6),
        ("ShuffleNetV2 x0.5 in onnx  0.22 ms", 90.13),
    ]


def test_no_label_hides_another_or_leaves_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def keep(figure: Figure, path: Path) -> None:
        drawn.append(figure)
        run_plots.save_png(figure, path)

    monkeypatch.setattr(deploy_plot, "save_png", keep)
    draw_deploy(VALUE, tmp_path / "deploy.png")
    with Image.open(tmp_path / "deploy.png") as picture:
        assert picture.format == "PNG"
        # Light, and not empty.
        light, dark = picture.convert("L").resize((1, 1)).getpixel((0, 0)), picture.getextrema()
        assert isinstance(light, int) and light > 230 and dark[0][0] < 60  # type: ignore[index]
    (axes,) = drawn[0].axes
    labels = [text for text in axes.texts if "ms" in text.get_text()]
    assert {text.get_text() for text in labels} == {point.label for point in points_of(VALUE)}
    # Without the line to its point, which belongs to an annotation too.
    boxes = [Text.get_window_extent(text) for text in labels]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= drawn[0].bbox.x1 and box.y0 > 0
        assert not any(box.overlaps(other) for other in boxes[:index])
    hollow = [line for line in axes.lines if same_color(line.get_markerfacecolor(), "white")]
    assert len(hollow) == len(INT8)
    texts = " ".join(text.get_text() for text in drawn[0].texts)
    assert "Peers: top-1 as published, timed with random weights" in texts and "fedcba98" in texts


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was timed"):
        draw_deploy({**VALUE, "candidates": VALUE["candidates"][-2:]}, tmp_path / "deploy.png")
