"""The reader of pickles: the same data as Python's own reads, and nothing run or grown."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostnet_small.data.formats.unpickle import unpickle
from ghostnet_small.errors import InputError

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


def error_of(content: bytes) -> str:
    with pytest.raises(InputError, match=r"^batch is not a pickle of arrays") as caught:
        unpickle(content, "batch")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


def with_value(value: bytes, end: bytes = b".") -> bytes:
    """A pickled dictionary whose one value is what the operations ``value`` make."""
    return b"\x80\x02}U\x01x" + value + b"s" + end


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_python_writes(protocol: int) -> None:
    shared = PIXELS + 1
    written = {
        "data": PIXELS,
        "turned": np.asfortranarray(PIXELS),
        "wide": np.array([[1, -(2**40)]], dtype=">i8"),
        "labels": [0, 1, 255, 256, 70000, -5, 2**40, True, None, np.int64(7)],
        b"names": ["é\n'\"\\", b"\0\xff'", ("a",), (), ("a", "b"), ("a", "b", "c"), tuple("abcd")],
        "nested": {"a": {b"b": []}},
        "empty": b"",
        "one": shared,
        "other": shared,
    }
    found = unpickle(pickle.dumps(written, protocol), "batch")
    assert list(found) == ["names" if key == b"names" else key for key in written]
    for key in ("data", "turned", "wide", "one", "other"):
        assert found[key].dtype == written[key].dtype
        assert np.array_equal(found[key], written[key])
    for key in ("labels", "nested", "empty"):
        assert found[key] == written[key]
    assert found["names"] == written[b"names"]


def python2(protocol: int) -> bytes:
    """``{'data': 2 x 2 pixels, 'labels': [3, 300], 'name': 'a\\n'}`` as cPickle writes it."""
    if protocol == 0:
        return (
            b"(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n"
            b"(I0\ntp5\nS'b'\np6\ntp7\nRp8\n(I1\n(I2\nI2\ntp9\ncnumpy\ndtype\np10\n(S'u1'\np11\n"
            b"I0\nI1\ntp12\nRp13\n(I3\nS'|'\np14\nNNNI-1\nI-1\nI0\ntp15\nbI00\n"
            b"S'\\x00\\'\\n\\xff'\np16\ntp17\nbsS'labels'\np18\n(lp19\nI3\naL300L\nasS'name'\np20\n"
            b"S'a\\n'\np21\ns."
        )
    # The same operations, each in its binary form.
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01"
        b"\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00'\n\xfftb"
        b"U\x06labelsq\x08]q\x09(K\x03M\x2c\x01eU\x04nameU\x02a\nu."
    )


@pytest.mark.parametrize("protocol", [0, 2])
def test_reads_what_python_2_wrote(protocol: int) -> None:
    found = unpickle(python2(protocol), "batch")
    assert found["data"].tolist() == [[0, 39], [10, 255]]
    assert found["labels"] == [3, 300]
    assert found["name"] == b"a\n"
    # Python's own reader agrees on the operations written by hand above.
    own = pickle.loads(python2(protocol), encoding="bytes")
    assert {key.decode(): own[key] for key in (b"labels", b"name")} == {
        key: found[key] for key in ("labels", "name")
    }
    assert np.array_equal(own[b"data"], found["data"])


class Runs:
    """Writes a file when Python's own reader loads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "ran"
    content = pickle.dumps({"x": Runs(file)}, protocol)
    assert "'posix.system', which is not allowed" in error_of(content)
    assert not file.exists()
    pickle.loads(content)
    assert file.exists()  # the pickle does what this test is about


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "getattr"),
        ("builtins", "eval"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("_codecs", "decode"),
        ("os.path", "system"),
        ("ghostnet_small.data.formats.unpickle", "_Machine"),
        ("a\033[31m", "b" * 1000),
    ],
)
def test_other_names_are_refused(module: str, name: str) -> None:
    message = error_of(with_value(f"c{module}\n{name}\n".encode()))
    assert "which is not allowed" in message and "\033" not in message
    both = b"".join(b"X" + struct.pack("<I", len(part)) + part.encode() for part in (module, name))
    assert "which is not allowed" in error_of(with_value(both + b"\x93"))


def test_a_known_name_cannot_be_put_to_another_use() -> None:
    reduce = b"cnumpy\nndarray\nK\x08\x85R"  # ndarray((8,)) would give memory as it lies
    assert "unknown way" in error_of(with_value(reduce))
    assert "calls what is not allowed" in error_of(with_value(b"U\x02osU\x06system\x85R"))
    assert "a state to what has none" in error_of(with_value(b"]K\x01\x85b"))
    # A function that is called with what a function gave, and so on.
    assert "calls what is not allowed" in error_of(with_value(b"cnumpy\ndtype\nU\x02u1\x85R)R"))


def array(shape: str = "K\x02\x85", kind: str = "u1", data: bytes = b"U\x02ab") -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape.encode("latin1")
        + b"cnumpy\ndtype\nU\x02"
        + kind.encode()
        + b"K\x00K\x01\x87R\x89"
        + data
        + b"tb"
    )


def test_arrays_are_of_integers_and_of_their_size() -> None:
    assert unpickle(with_value(array()), "batch")["x"].tolist() == [97, 98]
    assert "shape is not that of its values" in error_of(with_value(array(shape="K\x03\x85")))
    assert "shape is not" in error_of(with_value(array(shape="J\xff\xff\xff\x7f\x85")))
    assert "shape is not" in error_of(with_value(array(shape="J\xff\xff\xff\xff\x85")))
    assert "shape is not" in error_of(with_value(array(shape="(" + "K\x01" * 7 + "K\x02K\x01t")))
    assert "other than integers" in error_of(with_value(array(kind="O8", data=b"](K\x01K\x02e")))
    assert "other than integers" in error_of(with_value(array(data=b"](K\x01K\x02e")))
    assert "other than integers" in error_of(pickle.dumps({"x": np.array([{}])}))
    assert "other than integers" in error_of(pickle.dumps({"x": np.zeros(2)}))
    bare = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    assert "no values" in error_of(with_value(bare))


@pytest.mark.parametrize(
    "operations",
    [
        b"B\xff\xff\xff\xff",  # a length of 4 GiB, and none of it there
        b"\x8e" + b"\xff" * 8,
        b"\x96" + b"\x00" * 7 + b"\x7f",
        b"T\xff\xff\xff\x7f",
        b"\x8d" + b"\x00" * 5 + b"\x01\0\0",
        b"\x8b\xff\xff\xff\x7f",  # LONG4
        b"I" + b"9" * 100_000 + b"\n",
        b"K\x00r\xff\xff\xff\x7fj\xff\xff\xff\xff",  # a memo that is filled at its 2**31
    ],
)
def test_lengths_that_lie_take_no_memory(operations: bytes) -> None:
    tracemalloc.start()
    try:
        error_of(with_value(operations))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_one_text_cannot_be_copied_without_end() -> None:
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x01"
    copies = b"c_codecs\nencode\nq\x02" + b"h\x02h\x01U\x06latin1q\x03\x86R" * 1000
    tracemalloc.start()
    try:
        error_of(with_value(text + copies))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    copies = b"c_codecs\nencode\nq\x02X\x06\0\0\0latin1q\x03" + b"h\x02h\x01h\x03\x86R" * 1000
    assert "one text many times" in error_of(with_value(text + copies))


def test_nesting_and_the_number_of_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's tuple of tuples ... of tuples, 300,000 deep: a key of it would overflow the stack.
    deep = with_value(b")" + b"\x85" * 300_000)
    value = unpickle(deep, "batch")["x"]
    assert isinstance(value, tuple) and len(value) == 1
    assert "keys other than text" in error_of(b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.")
    assert "keys other than text" in error_of(b"}K\x01K\x01s.")
    # Doubled 60 times, a list of 2**60 lists takes 60 lists' memory.
    doubled = b"(]q\x00" + b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(60)) + b"t"
    assert len(unpickle(with_value(doubled), "batch")["x"][60]) == 2
    monkeypatch.setattr("ghostnet_small.data.formats.unpickle.MOST_OPERATIONS", 1000)
    assert "more than 1000 operations" in error_of(b"]" * 1001)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b".", b"garbage", b"\x80\x02", b"}", b"}(s.", b"}(U\x01xu.", b"t.", b"h\x00."),
        *(
            b"}U\x01xcos\n",
            b"\x93.",
            b"R.",
            b"b.",
            b"N.",
            b"].",
            b"K\x01K\x02a.",
            b"}Vabc",
            b"p0\n",
        ),
        *(b"}V\\ud8000\n0.", b"}X\x01\0\0\0\xffK\x01s.", b"]K\x01s.", b"I\n.", b"K\x01\x87."),
    ],
)
def test_damaged_content(content: bytes) -> None:
    error_of(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.binary(), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(values=st.dictionaries(st.text(), VALUES, max_size=4), protocol=st.integers(0, 5))
def test_equals_python_on_any_data(values: dict[str, Any], protocol: int) -> None:
    assert unpickle(pickle.dumps(values, protocol), "batch") == values


@settings(max_examples=200, deadline=None)
@given(
    protocol=st.integers(0, 5),
    cut=st.integers(0, 2000),
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3),
)
def test_damage_gives_data_or_an_input_error(
    protocol: int, cut: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(pickle.dumps({"data": PIXELS, "labels": [1, np.int64(2)]}, protocol))
    for at, value in flips:
        content[at % len(content)] = value
    try:
        assert isinstance(unpickle(content[:cut], "batch"), dict)
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(
    content=st.lists(
        st.sampled_from(
            [bytes([code]) for code in b"\x80}()]tldaesuqhrjKMJUTSIVXcRb.\x85\x86\x87\x94\x93N01\n"]
        ),
        max_size=40,
    )
)
def test_any_operations_give_data_or_an_input_error(content: list[bytes]) -> None:
    try:
        assert isinstance(unpickle(b"}" + b"".join(content) + b".", "batch"), dict)
    except InputError as error:
        assert "\n" not in str(error)
