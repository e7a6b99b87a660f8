"""The choice among a teacher's forms: how they are compared, which are dropped, which is taken."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from distill_kit import CPU, StopAfter, Stopped, data_with_holes, make_feed, make_teacher
from engine_kit import made_split
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.deploy.fast_inference import Answering, DirectForm
from ghostnet_small.run import teacher_backends
from ghostnet_small.run.teacher_backends import (
    EAGER,
    LEAST_SAME,
    MOST_MOVED,
    Compared,
    compare_forms,
    difference,
    fastest,
    first_views,
)
from ghostnet_small.train.settings import TrainSettings


def changed(by: Callable[[Tensor], Tensor]) -> DirectForm:
    """The network itself, its logits changed."""

    def build(program: ExportedProgram, threads: int) -> Answering:
        graph = program.module()
        return lambda x: by(graph(x))

    return DirectForm(build)


def broken(program: ExportedProgram, threads: int) -> Answering:
    raise RuntimeError("no such operator\nand more")


def compared(name: str, speed: float, **found: Any) -> Compared:
    values = {"same_top1": 100.0, "moved": 0.0, "most_moved": 0.0} | found
    return Compared(name, nn.Identity(), 64, **values, rates=(speed,) * 3, eager_rates=(1.0,) * 3)


# What is measured ----------------------------------------------------------------------------


def test_the_difference_of_two_sets_of_logits_by_hand() -> None:
    exact = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [math.log(3.0), 0.0]])
    # 3/4, 1/4 becomes 1/4, 3/4; the second moves nothing, the third from 3/4 to 1/2.
    found = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [0.0, 0.0]])
    same, moved, most = difference(found, exact, 1.0)
    assert same == pytest.approx(200 / 3)
    assert (moved, most) == pytest.approx((0.25, 0.5))


def test_the_temperature_that_moves_more_counts() -> None:
    exact, found = torch.tensor([[20.0, 0.0]]), torch.tensor([[18.0, 0.0]])
    at_4 = abs(1 / (1 + math.exp(-5)) - 1 / (1 + math.exp(-4.5)))
    assert difference(found, exact, 4.0)[1] == pytest.approx(at_4)
    near, far = torch.tensor([[0.5, 0.0]]), torch.tensor([[-0.5, 0.0]])
    at_1 = 1 / (1 + math.exp(-0.5)) - 1 / (1 + math.exp(0.5))
    assert difference(near, far, 4.0)[1] == pytest.approx(at_1)


def test_forms_are_timed_in_turns_on_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_backends, "TURN", 8)
    shift = torch.tensor([0.5, 0.0, 0.0, 0.0])
    monkeypatch.setattr(
        teacher_backends,
        "FORMS",
        {"same": changed(lambda z: z), "off": changed(lambda z: z + shift)},
    )
    teacher, views = make_teacher(), made_split(28, 1).images[:]
    ticks = iter(2.0 ** torch.arange(24).double())
    found = compare_forms(teacher, views, 2.0, clock=lambda: float(next(ticks)))
    assert [one.name for one in found] == [EAGER, "same", "off"]
    exact = teacher.logits(views)
    assert found[0].network is teacher.network
    assert (found[0].same_top1, found[0].moved, found[0].ratios) == (100.0, 0.0, (1.0,) * 4)
    assert found[1].same_top1 == 100.0 and found[1].most_moved < 1e-5
    by_hand = difference(exact + shift, exact, 2.0)
    assert (found[2].same_top1, found[2].moved, found[2].most_moved) == pytest.approx(by_hand)
    # Turns of 8, 8, 8 and 4 images, each form's next two ticks after those of the one before.
    assert found[1].rates == (8 / 4, 8 / 256, 8 / 2**14, 4 / 2**20)
    assert found[1].ratios == (0.25,) * 4 and found[2].ratios == (1 / 16,) * 4
    about = found[2].about()
    assert about["form"] == "off" and about["images"] == 28 and about["times_eager"] == 1 / 16
    # Asked as a teacher, a form is shown what it was compared on.
    form = replace(teacher, network=found[2].network)
    assert torch.allclose(form.logits(views), exact + shift, atol=1e-4)


def test_the_images_are_the_first_view_of_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_with_holes()
    augment, settings = Augmentation(crop_padding=1, flip="random"), TrainSettings()
    monkeypatch.setattr(teacher_backends, "IMAGES", 14)
    views = first_views(data, augment, settings, CPU)
    (whole,) = make_feed(data, augment).whole_view(0, 28)
    rows = [next(r for r, w in enumerate(whole.views) if torch.equal(v, w)) for v in views]
    assert torch.bincount(data.train.labels[rows]).tolist() == [8, 3, 2, 1]
    monkeypatch.setattr(teacher_backends, "IMAGES", 512)
    assert torch.equal(first_views(data, augment, settings, CPU), whole.views)


# What is taken -------------------------------------------------------------------------------


def test_the_fastest_within_the_bounds_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    eager, slow, quick = compared(EAGER, 1.0), compared("slow", 0.5), compared("quick", 3.0)
    edge = compared("edge", 4.0, same_top1=LEAST_SAME, moved=MOST_MOVED)
    others = compared("others", 9.0, same_top1=LEAST_SAME - 0.1)
    shifted = compared("shifted", 8.0, moved=MOST_MOVED * 1.01)
    none = compared("none", 7.0, moved=math.nan)
    with caplog.at_level(logging.WARNING):
        assert fastest([eager, slow, quick]) is quick
        assert fastest([eager, slow]) is eager
        assert caplog.messages == []
        assert fastest([eager, others, quick, shifted, edge, none]) is edge
    assert [message.split(" by ")[1].split()[0] for message in caplog.messages] == [
        "others",
        "shifted",
        "none",
    ]
    assert all("bounds, same top-1 99 %" in message for message in caplog.messages)
    # Where float32 itself is no number, that is for whoever keeps the answers to say.
    assert fastest([compared(EAGER, 1.0, moved=math.nan)]).name == EAGER


def test_what_cannot_be_built_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run_fails(program: ExportedProgram, threads: int) -> Answering:
        def run(x: Tensor) -> Tensor:
            raise ValueError("cannot run")

        return run

    forms = {
        "broken": DirectForm(broken),
        "stuck": DirectForm(run_fails),
        "missing": DirectForm(broken, ("no_such_runtime",)),
        "same": changed(lambda z: z),
    }
    monkeypatch.setattr(teacher_backends, "FORMS", forms)
    teacher, views = make_teacher(), made_split(28, 1).images[:]
    with caplog.at_level(logging.WARNING):
        found = compare_forms(teacher, views, 4.0)
    assert [one.name for one in found] == [EAGER, "same"]
    assert caplog.messages == [
        "the teacher does not answer by broken: RuntimeError: no such operator",
        "the teacher does not answer by stuck: ValueError: cannot run",
    ]


class Unexportable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        # A choice that depends on the pixels.
        means = x.mean((2, 3))
        logits: Tensor = self.head(means if float(means.sum()) > 0 else -means)
        return logits


def test_a_network_without_a_graph_answers_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    teacher = replace(make_teacher(), network=Unexportable())
    with caplog.at_level(logging.WARNING, logger="ghostnet_small"):
        (found,) = compare_forms(teacher, made_split(28, 1).images[:], 4.0)
    assert found.name == EAGER and fastest([found]) is found
    (message,) = [m for m in caplog.messages if m.startswith("the teacher answers by")]
    assert "no graph" in message and "\n" not in message


@pytest.mark.parametrize("calls", range(4))
def test_a_comparison_can_be_stopped(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Before the graph, a form, and the two answers of a turn.
    monkeypatch.setattr(teacher_backends, "FORMS", {"same": changed(lambda z: z)})
    with pytest.raises(Stopped):
        compare_forms(make_teacher(), made_split(28, 1).images[:], 4.0, between=StopAfter(calls))
    compare_forms(make_teacher(), made_split(28, 1).images[:], 4.0, between=StopAfter(4))
