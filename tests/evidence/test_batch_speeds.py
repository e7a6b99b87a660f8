"""The table and the picture of speed by batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evidence.figures import render_pictures
from evidence.tables import render_tables
from ghostnet_small.benchmark.step_cost import step_cost
from ghostnet_small.benchmark.train_speed import figures
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_row

NAME = "train-batches"


def sweep(fixed: float, sizes: tuple[int, ...] = (16, 1024), **changes: Any) -> dict[str, Any]:
    """A row in which a step takes ``fixed`` ms and 2 ms an image, in each of two variants."""
    seconds = {batch: [(fixed + 2 * batch) / 1000] * 3 for batch in sizes}
    one = {
        "batches": {
            str(batch): figures({"x": times}, pictures=batch)["x"]
            for batch, times in seconds.items()
        },
        **step_cost(seconds, steps=1),
    }
    return {
        "model": "ghostnetv3_small",
        "width": 1.0,
        "batch_sizes": list(sizes),
        "picture": [3, 8, 8],
        "precision": "fp32",
        "kind": "cpu",
        "threads": 1,
        "beside": 0,
        "variants": {"engine": one, "merged": one},
        "device": "A CPU, 2 cores",
        "commit": "abc",
        **changes,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    append_row(sweep(99.0, commit="old"), results / f"{NAME}.jsonl")
    append_row(sweep(32.0), results / f"{NAME}.jsonl")
    append_row(sweep(64.0, (16, 64), threads=2, beside=1), results / f"{NAME}.jsonl")
    return results


def picture(results: Path, words: str = "", draw: bool = False) -> str:
    mark = f"<!-- picture: speed {NAME}{words} -->\n<!-- end picture -->\n"
    return render_pictures(mark, results.parent / "page.md", results, draw=draw)


def test_a_line_of_the_table_is_a_variant_of_the_newest_code(results: Path) -> None:
    page = results.parent / "page.md"
    page.write_text(f"<!-- table: {NAME} variant=engine -->\n<!-- end table -->\n")
    assert render_tables(page, results) is False
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| threads | beside | images/s at 16 | images/s at 64 | images/s at 1,024 "
        "| fixed ms a step: median [least-most] |"
    )
    assert lines[2:] == [
        "| 1 | 0 | 250 | - | 492 | 32 [32-32] |",
        "| 2 | 1 | 167 | 333 | - | 64 [64-64] |",
    ]
    assert (
        "In every row: network ghostnetv3_small 1; image 3x8x8; precision fp32; variant engine; "
        "device A CPU, 2 cores; commit abc; ms an image 2; line off, % 0; n 3."
    ) in page.read_text()


def test_a_picture_is_drawn_and_told(results: Path) -> None:
    text = picture(results, " variant=engine", draw=True)
    assert (
        "![Images per second by batch size, and the fixed cost of a step. "
        "threads 1, beside 0: 250 at 16, 492 at 1024; fixed 32 ms. "
        "threads 2, beside 1: 167 at 16, 333 at 64; fixed 64 ms. "
        "All: ghostnetv3_small 1, 3x8x8, fp32, engine, A CPU, 2 cores, commit abc.]"
        f"(results/plots/speed-{NAME}-engine.png)"
    ) in text
    file = results / "plots" / f"speed-{NAME}-engine.png"
    with Image.open(file) as drawn:
        assert drawn.size[0] == 1200
    append_row(sweep(8.0, commit="new"), results / f"{NAME}.jsonl")
    # Newer code takes the place of its line.
    assert "fixed 8 ms" in picture(results, " variant=engine") != text
    assert "fixed 32 ms" not in picture(results, " variant=engine")


def test_one_line_is_called_by_its_variant(results: Path) -> None:
    text = picture(results, " variant=merged threads=2")
    assert " merged: 167 at 16" in text and "engine" not in text


def test_a_cost_below_zero_is_drawn(results: Path) -> None:
    row = sweep(-30.0, (16, 64), threads=4)
    append_row(row, results / f"{NAME}.jsonl")
    assert "fixed -30 ms" in picture(results, " threads=4 variant=engine", draw=True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (" engine", "'engine' in picture 'speed train-batches' chooses nothing; write TITLE=CELL"),
        (" seed=0", "'seed=0' .* of network, image, precision, threads"),
        (" threads=3", r"threads is never '3'; choose one of \['1', '2'\]"),
    ],
)
def test_a_bad_choice_is_refused(results: Path, words: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        picture(results, words)


def test_more_lines_than_colours_are_refused(results: Path) -> None:
    for width in (1.3, 1.6):
        append_row(sweep(32.0, width=width), results / f"{NAME}.jsonl")
    with pytest.raises(InputError, match="has 8 lines; choose at most 7 of them by TITLE=CELL"):
        picture(results)
    assert "fixed" in picture(results, " variant=engine")


def test_a_file_that_is_not_there_is_named(results: Path) -> None:
    mark = "<!-- picture: speed other -->\n<!-- end picture -->\n"
    with pytest.raises(InputError, match=r"other\.jsonl, which does not exist; record it with"):
        render_pictures(mark, results.parent / "page.md", results, draw=False)
