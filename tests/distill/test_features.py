"""Losses of feature maps: by hand, by identities, by other people's code, and at their edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ghostnet_small.distill import (
    attention_map,
    attention_transfer_loss,
    hint_loss,
    make_adapter,
)
from ghostnet_small.errors import InputError


def random_maps(*shapes: tuple[int, ...]) -> list[Tensor]:
    random = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]


# Attention


def test_attention_map_by_hand() -> None:
    # The squares' means over the two channels are 3, 4, 0 and 0; their norm is 5.
    channels = [[[6.0**0.5, 2.0], [0, 0]], [[0.0, -2.0], [0, 0]]]
    attention = attention_map(torch.tensor([channels]))
    assert attention.shape == (1, 2, 2)
    assert attention.flatten().tolist() == pytest.approx([0.6, 0.8, 0, 0], rel=1e-6)
    # In half precision the squares would be beyond the largest number.
    large = attention_map(torch.tensor([channels]).half() * 1000)
    assert large.dtype == torch.float32
    assert large.flatten().tolist() == pytest.approx([0.6, 0.8, 0, 0], rel=1e-3)


def test_attention_transfer_by_hand() -> None:
    student, teacher = torch.tensor([[[[1.0, 0.0]]]] * 2), torch.tensor([[[[0.0, 3.0]]]] * 2)
    assert attention_transfer_loss(student, teacher).item() == 1  # (1 + 1) / 2 places
    both = torch.cat((student[:1], teacher[:1]))
    assert attention_transfer_loss(both, teacher).item() == 0.5


def test_the_value_of_published_attention_transfer() -> None:
    # What torchdistill 1.1.5's ATLoss with mode="code" gave for these.
    grid = torch.arange(24, dtype=torch.float64).view(2, 3, 2, 2)
    loss = attention_transfer_loss((grid * 0.7).sin(), (grid * 1.3).cos())
    assert loss.item() == pytest.approx(0.0802732176269592, rel=1e-12)


def test_attention_knows_neither_the_number_nor_the_scale_of_channels() -> None:
    (teacher,) = random_maps((4, 3, 5, 6))
    student = 7 * torch.cat((teacher, -teacher), 1)
    assert attention_transfer_loss(student, teacher).item() < 1e-15
    assert attention_transfer_loss(teacher.flip(0), teacher).item() > 1e-3


# Hints


def test_hint_by_hand() -> None:
    student = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    teacher = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 6.0]]]])
    assert hint_loss(student, teacher).item() == 10  # (4 + 36) / 4
    assert hint_loss(teacher, teacher).item() == 0


def test_the_larger_map_is_pooled_to_the_smaller() -> None:
    large = torch.tensor([[[[0.0, 2.0, 4.0, 6.0], [2.0, 4.0, 6.0, 8.0]]]])
    small = torch.tensor([[[[2.0, 6.0]]]])  # the means of its two squares
    assert hint_loss(large, small).item() == 0
    assert hint_loss(small, large).item() == 0
    # Each side may be the larger one in another direction.
    wide, high = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[2.0], [4.0]]]])
    assert hint_loss(wide, high).item() == 0
    assert attention_transfer_loss(large, small).item() < 1e-12
    assert attention_transfer_loss(small, large + large.flip(3) * 2).item() > 1e-3


BOTH = pytest.mark.parametrize("loss", [attention_transfer_loss, hint_loss])


@BOTH
def test_gradients_go_to_the_student_alone(loss: Any) -> None:
    student, teacher = (x.requires_grad_() for x in random_maps((2, 3, 4, 4), (2, 3, 2, 2)))
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student)
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None and student.grad.abs().max() > 0


@BOTH
def test_zeros_and_half_precision_stay_finite(loss: Any) -> None:
    (varied,) = random_maps((2, 3, 4, 4))
    # The squares of the second's are beyond float16.
    for student in (torch.zeros(2, 3, 4, 4), 5e3 * varied.half(), varied.bfloat16()):
        assert student.isfinite().all()
        student.requires_grad_()
        value = loss(student, varied.half())
        value.backward()
        assert value.isfinite() and value.dtype == torch.float32
        assert student.grad is not None and student.grad.isfinite().all()


@BOTH
def test_maps_that_do_not_fit_are_refused(loss: Any) -> None:
    (good,) = random_maps((2, 3, 4, 4))
    for wrong in (good[0], good.long(), good[:, :, :0], good.flatten(2)):
        for pair in ((good, wrong), (wrong, good)):
            with pytest.raises(InputError, match=r"must be floating \(N, C, H, W\)"):
                loss(*pair)
    with pytest.raises(InputError, match="of 2 images and teacher_map of 1; give both"):
        loss(good, good[:1])


def test_an_adapter_makes_the_channels_fit() -> None:
    student, teacher = (x.float() for x in random_maps((2, 3, 4, 4), (2, 5, 4, 4)))
    with pytest.raises(InputError, match=r"put make_adapter\(3, 5\) behind the student's"):
        hint_loss(student, teacher)
    adapter = make_adapter(3, 5)
    assert [tuple(p.shape) for p in adapter.parameters()] == [(5, 3, 1, 1)]
    hint_loss(adapter(student), teacher).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in adapter.parameters())
    same = make_adapter(5, 5)
    assert list(same.parameters()) == [] and same(teacher) is teacher
    with pytest.raises(InputError, match="channels are 0 and 5; both must be at least 1"):
        make_adapter(0, 5)
