"""Blocks of pictures, decoded by this process and by helpers that may die."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostnet_small.data.decoded import decode
from ghostnet_small.data.decoded.decode import Block, Format, Source, decode_block, decode_blocks
from ghostnet_small.errors import InputError
from makers import png_bytes

GREY = Format(None, None, 1, 8, 8)
COLOUR = Format(None, None, 3, 8, 8)


def grey(value: int, size: int = 8) -> bytes:
    return png_bytes(Image.new("L", (size, size), value))


def colour(*value: int) -> bytes:
    return png_bytes(Image.new("RGB", (8, 8), value))


class Kept:
    """Takes blocks of two pictures each, and remembers."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self.blocks: dict[int, Block] = {}
        self.said: list[str] = []

    def load(self, number: int) -> tuple[list[Source], list[str]]:
        rows = range(2 * number, 2 * number + 2)
        return [self.sources[row] for row in rows], [f"picture {row}" for row in rows]

    def keep(self, number: int, block: Block) -> bool:
        assert number not in self.blocks
        self.blocks[number] = block
        return not block.unreadable

    def run(self, form: Format = GREY, helpers: int = 0) -> None:
        numbers = range(len(self.sources) // 2)
        decode_blocks(numbers, self.load, self.keep, form, helpers=helpers, say=self.said.append)

    def values(self) -> list[int]:
        found = [self.blocks[number].pixels[:, 0, 0, 0] for number in sorted(self.blocks)]
        return [int(value) for value in np.concatenate(found)]


def test_a_block_holds_every_source_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(grey(7))
    sources: list[Source] = [file, grey(8), np.full((8, 8), 9, np.uint8), InputError("row 3: no")]
    block = decode_block([*sources, colour(1, 2, 3)], list("abcde"), COLOUR)
    assert block.kinds.tolist() == [1, 1, 1, 0, 3]
    assert block.pixels[:, :, 4, 4].tolist() == [[7] * 3, [8] * 3, [9] * 3, [0] * 3, [1, 2, 3]]
    assert block.unreadable == {3: "row 3: no"}
    assert block.misfit is None and not block.coloured


def test_a_block_stops_at_another_size_or_colour() -> None:
    other = png_bytes(Image.new("L", (12, 9)))
    assert decode_block([grey(1), other], ["a", "b"], GREY).misfit == (1, (9, 12))
    assert decode_block([grey(1), colour(1, 2, 3)], ["a", "b"], GREY).coloured


@pytest.mark.parametrize("helpers", [0, 2])
def test_all_blocks_whoever_decodes_them(helpers: int) -> None:
    kept = Kept([grey(row) for row in range(40)])
    kept.run(helpers=helpers)
    assert kept.values() == list(range(40))
    assert kept.said == []


def test_no_block_begins_after_a_no() -> None:
    sources: list[Source] = [grey(row) for row in range(40)]
    sources[7] = b"broken"
    kept = Kept(sources)
    kept.run()
    assert sorted(kept.blocks) == [0, 1, 2, 3]
    assert "picture 7" in kept.blocks[3].unreadable[1]


@pytest.fixture
def helper_first(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """After the first block this process waits for the event before it decodes another."""
    go = threading.Event()
    blocks = []

    def patient(*request: Any) -> Block:
        blocks.append(1)
        assert len(blocks) == 1 or go.wait(60)
        return decode_block(*request)

    monkeypatch.setattr(decode, "decode_block", patient)
    return go


def test_a_helper_that_dies_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, helper_first: threading.Event
) -> None:
    """The helper is killed as soon as it has a block; the block must not be lost."""
    send = decode._Helper.decode

    def killed(self: decode._Helper, *request: Any) -> Block:
        self.process.kill()
        self.process.wait()
        helper_first.set()
        return send(self, *request)

    monkeypatch.setattr(decode._Helper, "decode", killed)
    kept = Kept([grey(row) for row in range(40)])
    kept.run(helpers=1)
    assert kept.values() == list(range(40))
    assert kept.said == ["1 of the decoding processes ended early; this one did their work"]


def test_without_helpers_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PYTHON", ("/no/such/python",))
    kept = Kept([grey(row) for row in range(20)])
    kept.run(helpers=2)
    assert kept.values() == list(range(20))


def test_what_a_helper_thread_raises_is_raised_here(helper_first: threading.Event) -> None:
    kept = Kept([grey(row) for row in range(20)])

    def full(number: int, block: Block) -> bool:
        if threading.current_thread() is not threading.main_thread():
            helper_first.set()
            raise OSError(28, "No space left on device")
        return True

    with pytest.raises(OSError, match="No space"):
        decode_blocks(range(10), kept.load, full, GREY, helpers=1, say=kept.said.append)


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """Helpers do not run the user's program again, as multiprocessing's would."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]\n"
        "from test_decode import GREY, Kept, grey\n"
        "print('begin')\n"
        "kept = Kept([grey(row) for row in range(20)])\n"
        "kept.run(helpers=1)\n"
        "print(kept.values() == list(range(20)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("begin\nTrue\n", 0), done.stderr
