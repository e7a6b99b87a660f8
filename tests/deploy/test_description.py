from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostnet_small.deploy.description import FORMAT, Description, read_description
from ghostnet_small.errors import InputError

DIGITS = Description(
    architecture="ghostnetv3_small",
    width=1.0,
    classes=("0", "eins", "zw\u00f6lf \U0001f431"),
    size=(28, 32),
    mean=(0.5, 0.25, 0.1),
    std=(0.2, 0.3, 1e-3),
    precision="int8",
    input="pixels",
    data={"root": "/some/where", "class_names": ["a", "b"], "size": None},
)

positive = st.floats(1e-6, 1e6)
channels = st.integers(1, 4)
descriptions = st.builds(
    lambda count, **values: Description(
        mean=(0.5,) * count, std=(values.pop("std"),) * count, **values
    ),
    count=channels,
    std=positive,
    architecture=st.text(),
    width=positive,
    classes=st.lists(st.text(), min_size=1).map(tuple),
    size=st.tuples(st.integers(1, 2048), st.integers(1, 2048)),
    precision=st.sampled_from(["float32", "int8"]),
    input=st.sampled_from(["normalized", "pixels"]),
    data=st.dictionaries(st.text(), st.none() | st.text() | st.integers() | positive),
)


@settings(max_examples=30, deadline=None)
@given(descriptions)
def test_what_is_written_is_read(description: Description) -> None:
    text = description.as_json()
    assert text.isascii() and len(text.splitlines()) == 1
    assert read_description(text, "file") == description


def test_facts() -> None:
    assert read_description(DIGITS.as_json(), "file") == DIGITS
    assert DIGITS.channels == 3
    assert json.loads(DIGITS.as_json())["format"] == FORMAT == 1
    # Files of 8 bits say nothing of them, as before.
    assert "head_bits" not in json.loads(DIGITS.as_json())
    few = replace(DIGITS, head_bits=4)
    assert read_description(few.as_json(), "file") == few


def changed(**values: Any) -> str:
    return json.dumps(json.loads(DIGITS.as_json()) | values)


REFUSED = {
    "nothing": (None, "was not written by ghostnet-small export"),
    "another version": (changed(format=2), "of format 2, and this program reads 1"),
    "no version": ('{"classes": []}', "no 'format'"),
    "empty": ("", "has no valid description"),
    "cut short": (DIGITS.as_json()[:-20], "has no valid description"),
    "a list": ("[1]", "has no valid description"),
    "a number": ("1", "has no valid description"),
    "deep": ("[" * 100_000, "has no valid description"),
    "long number": ("1" * 5000, "has no valid description"),
    "no class": (changed(classes=[]), "0 classes"),
    "classes a number": (changed(classes=7), "has no valid description"),
    "precision": (changed(precision="int4"), "'int4'"),
    "precision a list": (changed(precision=["int8"]), "int8"),
    "input": (changed(input=None), "input None"),
    "bits of the head": (changed(head_bits=3), "3 bits for the head"),
    "bits of a float32 head": (changed(head_bits=4, precision="float32"), "4 bits for the head"),
    "no size": (changed(size=[]), "has no valid description"),
    "size 0": (changed(size=[0, 8]), r"\(0, 8\)"),
    "a huge size": (changed(size=[1 << 40, 1]), "a size of"),
    "an infinite size": (changed(size=[math.inf, 8]), "has no valid description"),
    "other std": (changed(std=[0.5]), "contradict"),
    "no mean": (changed(mean=[], std=[]), "contradict"),
    "mean not a number": (changed(mean=[math.nan] * 3), "nan"),
    "std 0": (changed(std=[0.5, 0.5, 0]), "std"),
    "data a number": (changed(data=3), "has no valid description"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_description_that_cannot_be(case: str) -> None:
    text, said = REFUSED[case]
    with pytest.raises(InputError, match=said) as refused:
        read_description(text, "some/model.onnx")
    message = str(refused.value)
    assert message.startswith("some/model.onnx ") and "export the run again" in message
    assert len(message) < 500 and "\n" not in message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*json.loads(DIGITS.as_json())]), anything)
def test_any_value_is_read_or_refused(key: str, value: Any) -> None:
    try:
        found = read_description(changed(**{key: value}), "file")
    except InputError:
        return
    # What was accepted is what a session and an evaluation can go by.
    assert read_description(replace(found).as_json(), "file").classes == found.classes
    assert min(found.size) >= 1 and min(found.std) > 0 and len(found.mean) == found.channels
    assert all(map(math.isfinite, (*found.mean, *found.std)))


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_description(text, "file")
