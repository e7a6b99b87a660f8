from __future__ import annotations

import pytest
import torch
from torch import nn

from engine_kit import made_split
from ghostnet_small.data.dataset import Split
from ghostnet_small.models.registry import create_model
from ghostnet_small.train import evaluate as module
from ghostnet_small.train.evaluate import evaluate, with_mirror


class Brightness(nn.Module):
    """Logits (mean, 0): class 0 where a picture is brighter than the mean, else class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2, 3)) * self.weight
        return torch.stack((mean, torch.zeros_like(mean)), dim=1)


def test_by_hand() -> None:
    images = torch.tensor([255, 255, 0, 0], dtype=torch.uint8)[:, None, None, None].expand(
        4, 1, 8, 8
    )
    split = Split(images, torch.tensor([0, 1, 1, 1]), torch.arange(4))
    found = evaluate(Brightness().eval(), split, mean=(0.5,), std=(0.25,))
    # Normalised to +2 and -2: right, wrong, right, right.
    assert (found.correct, found.total, found.top1) == (3, 4, 75.0)
    right, wrong = torch.tensor([-2.0, 2.0]).double().exp().log1p().tolist()
    assert found.loss == pytest.approx((3 * right + wrong) / 4, rel=1e-6)
    assert found.logits[:, 0].tolist() == pytest.approx([2, 2, -2, -2], rel=1e-6)


class Small(Brightness):
    """One that has memory for so many pictures, and tells how many it was shown."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits, self.shown = fits, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError
        return super().forward(x)


def test_what_does_not_fit_at_once_is_shown_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    split, normal = made_split(11, seed=4), {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    split = Split(split.images, split.labels % 2, split.index)
    whole = evaluate(Brightness().eval(), split, **normal)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "BATCH", 3)
    monkeypatch.setattr(module, "_at_once", lambda split, device: 7)
    small = Small(3).eval()
    assert torch.equal(evaluate(small, split, **normal).logits, whole.logits)  # type: ignore[arg-type]
    assert small.shown == [7, 3, 3, 1, 4, 3, 1]
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(Small(2).eval(), split, **normal)  # type: ignore[arg-type]


def test_a_gpu_is_shown_more_at_once() -> None:
    def sized(side: int) -> Split:
        images = torch.zeros(1, 3, side, side, dtype=torch.uint8)
        return Split(images, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))

    gpu = torch.device("cuda")
    assert module._at_once(sized(32), torch.device("cpu")) == 500
    assert [module._at_once(sized(side), gpu) for side in (28, 32, 64, 224)] == [
        5000,
        5000,
        1250,
        500,
    ]


def test_the_batches_do_not_matter_and_between_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("ghostnetv3_small", width=0.25, num_classes=4).eval()
    split, calls = made_split(11, seed=4), []
    options = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    whole = evaluate(model, split, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "BATCH", 4)
    parts = evaluate(model, split, between=lambda: calls.append(1), **options)  # type: ignore[arg-type]
    assert torch.allclose(whole.logits, parts.logits, atol=1e-5)
    assert whole.logits.shape == (11, 4) and not whole.logits.requires_grad
    assert parts.total == 11 and len(calls) == 3


class LeftEdge(Brightness):
    """Logits (first column's mean, 0)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[..., :1])


def test_mirrored_shows_the_right_edge_on_the_left() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    images[0, ..., 0] = images[1, ..., -1] = 255
    split = Split(images, torch.tensor([0, 0]), torch.arange(2))
    normal = {"mean": (0.5,), "std": (0.25,)}
    shown = evaluate(LeftEdge().eval(), split, **normal)  # type: ignore[arg-type]
    mirrored = evaluate(LeftEdge().eval(), split, mirrored=True, **normal)  # type: ignore[arg-type]
    assert shown.logits[:, 0].tolist() == pytest.approx([2, -2])
    assert mirrored.logits[:, 0].tolist() == pytest.approx([-2, 2])


def test_answers_to_mirror_images_count_as_much() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    mirrored = torch.tensor([[0.0, 3.0], [0.5, 0.0], [0.0, 0.5]])
    found = with_mirror(logits, mirrored, torch.tensor([1, 1, 1]))
    # Turned round by the surer mirror image; kept; kept although the mirror image is right.
    assert (found.correct, found.total) == (2, 3)
    assert found.logits.tolist() == [[0.5, 1.5], [0.25, 0.5], [0.5, 0.25]]
