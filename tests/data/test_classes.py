"""Names of classes that look the same."""

from __future__ import annotations

from ghostnet_small.data.classes import alike, list_classes, look_alikes, same_class

NFC, NFD = "caf\u00e9", "cafe\u0301"


def test_long_lists_are_cut() -> None:
    assert list_classes(["a", "b"]) == "2 classes (a, b)"
    assert list_classes([str(k) for k in range(30)]).endswith("18, 19, ...)")


def test_normal_forms_are_one_class_and_capitals_are_not() -> None:
    assert same_class(NFD, ["tea", NFC]) == NFC
    assert same_class(NFD, [NFC, NFD]) == NFD
    assert same_class("Tea", ["tea"]) is None
    assert alike(" Tea", ["cup", "tea"]) == "tea"
    assert alike("milk", ["tea"]) is None


def test_classes_that_look_the_same_are_told_with_their_code_points() -> None:
    assert look_alikes(["cat", "dog"]) is None
    remark = look_alikes([NFC, NFD, "dog", "dog ", "Dog", "cat"])
    assert remark is not None
    assert r"'caf\xe9' and 'cafe\u0301'; 'dog' and 'dog ' and 'Dog';" in remark
