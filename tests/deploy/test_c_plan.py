"""The memory of the generated code, and pieces of its text."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c_kit import deployable
from ghostnet_small.deploy.c.packing import pack_halves
from ghostnet_small.deploy.c.plan import Block, lifetimes, place, plan_of
from ghostnet_small.deploy.c.quantize import best_step, feed_back
from ghostnet_small.deploy.c.text import WIDTH, Table, comment, numbers

STEPS = st.tuples(*[st.integers(0, 9)] * 3).map(sorted)
BLOCKS = st.lists(
    st.tuples(st.integers(0, 50), STEPS, st.integers(0, 50)).map(
        lambda b: Block(b[0], b[1][0], b[1][2], half=b[2], late=b[1][1])
    ),
    max_size=12,
)


@given(BLOCKS)
@settings(max_examples=200, deadline=None)
def test_memory_that_is_needed_at_once_never_overlaps(blocks: list[Block]) -> None:
    offsets, total = place(blocks)
    for step in range(10):
        used: list[int] = []
        for block, offset in zip(blocks, offsets, strict=True):
            if block.first <= step <= block.last:
                # What comes from ``half`` on is free at first.
                end = block.size if step >= block.late else min(block.half, block.size)
                used += range(offset, offset + end)
        assert len(used) == len(set(used))
    assert all(0 <= at <= total - b.size for at, b in zip(offsets, blocks, strict=True))


def test_memory_is_used_again() -> None:
    assert place([Block(10, 0, 1), Block(10, 1, 2), Block(10, 2, 3)])[1] == 20


def test_a_block_lies_in_the_half_that_another_does_not_use_yet() -> None:
    wide = Block(20, 1, 2, half=10, late=2)
    assert place([wide, Block(10, 0, 1)]) == ([0, 10], 20)
    assert place([wide, Block(10, 0, 2)]) == ([0, 20], 30)


def test_every_map_is_written_before_it_is_read() -> None:
    network, description = deployable()
    plan = plan_of(network.network, description.size)
    written = {plan.picture}
    for step in plan.steps:
        assert set(step.maps) - {step.target} <= written, step.name
        written.add(step.target)
    assert written == set(lifetimes(plan.steps)) and plan.logits in written


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(value: float) -> None:
    (text,) = numbers([value])
    assert np.float32(text.removesuffix("f")) == np.float32(value)
    assert text.endswith("f") and any(c in text for c in ".e")


@given(st.lists(st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,3}(e-[0-9]{2})?f)?", fullmatch=True)))
def test_tables_are_wrapped_as_textwrap_does(texts: list[str]) -> None:
    body = textwrap.wrap(", ".join(texts), WIDTH - 4, break_long_words=False)
    lines = Table("float", "t", " ".join(texts)).definition().splitlines()[1:-1]
    assert [line for line in lines if line] == [f"    {line}" for line in body]


def test_nothing_ends_a_comment_early() -> None:
    assert comment("a */ b /* c").count("*/") == 1
    assert comment("a */ b /* c").count("/*") == 1


@given(st.lists(st.integers(-7, 7), min_size=8, max_size=8))
def test_half_bytes_hold_eight_weights(weights: list[int]) -> None:
    packed = pack_halves(torch.tensor(weights, dtype=torch.int8)).tolist()
    halves = [byte % 16 for byte in packed] + [byte % 256 // 16 for byte in packed]
    assert [half - 8 for half in halves] == weights


@pytest.mark.parametrize("levels", [127, 7])
def test_feeding_errors_back_loses_less_than_rounding(levels: int) -> None:
    torch.manual_seed(0)
    # Inputs that go together are where it helps.
    inputs = torch.randn(500, 8) @ torch.randn(8, 32) + 0.1 * torch.randn(500, 32)
    weight = torch.randn(16, 32)
    whole, step = feed_back(weight, inputs, levels=levels)
    assert whole.abs().max() <= levels and torch.equal(whole, whole.round())
    best = best_step(weight, levels)[:, None]
    rounded = (weight.double() / best).round().clamp(-levels, levels) * best

    def error(used: torch.Tensor) -> float:
        return float((inputs.double() @ (used - weight.double()).T).square().mean())

    assert error(whole * step[:, None]) < 0.5 * error(rounded)
