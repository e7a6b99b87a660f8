"""Settings of data that exclude each other."""

from __future__ import annotations

import pytest

from ghostnet_small.data.settings import DataSettings
from ghostnet_small.errors import InputError


@pytest.mark.parametrize(
    ("validation", "fold", "said"),
    [
        (0.3, 0, r"data\.fold 0 needs a validation share that is one part of several"),
        (0.0, 0, r"data\.fold 0 needs a validation share"),
        (0.2, 5, r"data\.fold 5 is not allowed; with data\.validation 0\.2 give 0 to 4"),
        (0.2, -1, r"data\.fold -1 is not allowed"),
    ],
)
def test_a_fold_is_one_of_several_equal_parts(validation: float, fold: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        DataSettings(validation=validation, fold=fold).check()


def test_the_last_fold_is_allowed() -> None:
    DataSettings(validation=0.2, fold=4).check()
