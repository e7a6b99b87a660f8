from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ghostnet_small import fast
from ghostnet_small.fast.cpu import rep_conv as merged_module
from ghostnet_small.fast.cpu.kernels import calls
from ghostnet_small.fast.cpu.kernels.library import library
from ghostnet_small.fast.cpu.rep_conv import MergedConv, merged_forward, merged_of
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.nn.ghost import GhostModule
from ghostnet_small.nn.rep_conv import RepConv2d
from scrambled import scrambled

pytestmark = pytest.mark.usefixtures("kernels")

TOLERANCE = 1e-9

# The paper's.
WIDTHS = (1.0, 1.3, 1.6, 1.9, 2.2, 2.8, 3.4)


@pytest.fixture(autouse=True)
def worthwhile_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_module, "WORTHWHILE", 0)


@pytest.fixture(params=["kernels", "torch"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both implementations."""
    if request.param == "torch":
        monkeypatch.setattr(calls, "usable", lambda x: False)
        monkeypatch.setattr(calls, "usable_for", lambda x: False)
    return str(request.param)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    error = (actual - expected).abs().max().item()
    assert error <= TOLERANCE * max(1.0, expected.abs().max().item()), (name, error)


LAYERS = {
    "pointwise": (dict(in_channels=5, out_channels=3, kernel_size=1), (4, 5, 6, 7)),
    "pointwise-skip": (dict(in_channels=4, out_channels=4, kernel_size=1), (3, 4, 5, 5)),
    "pointwise-1x1-map": (dict(in_channels=4, out_channels=4, kernel_size=1), (2, 4, 1, 1)),
    "depthwise": (dict(in_channels=4, out_channels=4, kernel_size=3, groups=4), (3, 4, 8, 8)),
    "odd": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 7, 5)),
    "one-pixel": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (5, 3, 1, 1)),
    "two-pixels": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 2, 2)),
    "one-row": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 1, 6)),
    "three-rows": (dict(in_channels=3, out_channels=3, kernel_size=3, groups=3), (2, 3, 3, 2)),
    "one-channel": (dict(in_channels=1, out_channels=1, kernel_size=3), (3, 1, 4, 5)),
    "nine-to-one": (dict(in_channels=9, out_channels=1, kernel_size=1), (3, 9, 4, 4)),
    "stride-2": (
        dict(in_channels=4, out_channels=4, kernel_size=3, stride=2, groups=4),
        (3, 4, 7, 8),
    ),
    "depthwise-5x5": (dict(in_channels=4, out_channels=4, kernel_size=5, groups=4), (3, 4, 6, 7)),
    "5x5-stride-2": (
        dict(in_channels=9, out_channels=9, kernel_size=5, stride=2, groups=9),
        (2, 9, 5, 11),
    ),
    "stride-2-one-pixel": (
        dict(in_channels=4, out_channels=4, kernel_size=3, stride=2, groups=4),
        (3, 4, 1, 2),
    ),
    "many-channels": (dict(in_channels=37, out_channels=21, kernel_size=1), (2, 37, 9, 15)),
    "many-windows": (
        dict(in_channels=21, out_channels=21, kernel_size=3, groups=21),
        (3, 21, 9, 13),
    ),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer", LAYERS)
def test_is_the_sum_of_branches(layer: str, memory_format: torch.memory_format, by: str) -> None:
    torch.manual_seed(0)
    settings, shape = LAYERS[layer]
    reference = scrambled(RepConv2d(**settings))
    merged = copy.deepcopy(reference)
    x = (torch.randn(shape, dtype=torch.float64) + 0.7).to(memory_format=memory_format)
    xs = [x.clone().requires_grad_() for _ in range(2)]
    outs = [reference(xs[0]), merged_forward(merged, xs[1])]
    assert_close(outs[1], outs[0], "output")
    weights = torch.randn(outs[0].shape, dtype=torch.float64)
    for out in outs:
        (out * weights).sum().backward()
    assert_close(xs[1].grad, xs[0].grad, "input")
    for (name, expected), actual in zip(
        reference.named_parameters(), merged.parameters(), strict=True
    ):
        assert_close(actual.grad, expected.grad, name)
    for name, expected in reference.named_buffers():
        assert_close(merged.get_buffer(name).double(), expected.double(), name)


def test_branches_in_evaluation_are_left_to_the_reference() -> None:
    torch.manual_seed(0)
    rep = scrambled(RepConv2d(4, 4, 1))
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    rep.branches[1].bn.eval()
    assert torch.equal(merged_forward(copy.deepcopy(rep), x), rep(x))
    rep.eval()
    assert torch.equal(merged_forward(rep, x), rep(x))


def test_small_inputs_are_left_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    rep = scrambled(RepConv2d(4, 4, 1))
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    monkeypatch.setattr(merged_module, "WORTHWHILE", x.numel() + 1)
    assert torch.equal(merged_forward(copy.deepcopy(rep), x), rep(x))


def test_a_single_value_per_channel_is_refused_as_ever() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        merged_forward(RepConv2d(4, 4, 1).train(), torch.randn(1, 4, 1, 1))


def test_a_single_window_is_refused_as_ever() -> None:
    part = RepConv2d(4, 4, 3, stride=2, groups=4).train()
    x = torch.randn(1, 4, 2, 2).to(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        merged_forward(part, x)


GRADIENTS = {
    "pointwise": dict(in_channels=3, out_channels=2, kernel_size=1),
    "pointwise-skip": dict(in_channels=2, out_channels=2, kernel_size=1),
    "depthwise": dict(in_channels=2, out_channels=2, kernel_size=3, groups=2),
    "stride-2": dict(in_channels=2, out_channels=2, kernel_size=3, stride=2, groups=2),
    "5x5": dict(in_channels=1, out_channels=1, kernel_size=5),
}


@pytest.mark.parametrize("size", [(4, 5), (1, 1), (2, 3)])
@pytest.mark.parametrize("layer", GRADIENTS)
def test_gradients(layer: str, size: tuple[int, int], by: str) -> None:
    torch.manual_seed(0)
    settings = GRADIENTS[layer]
    part = scrambled(RepConv2d(**settings))
    x = torch.randn(3, settings["in_channels"], *size, dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    merged = merged_of(part, x, size)
    if merged is None:
        assert by == "torch" and layer in ("stride-2", "5x5")
        return

    def output(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return MergedConv.apply(x, merged, *parameters)

    assert torch.autograd.gradcheck(output, (x, *merged.parameters))


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_mean_far_from_zero_costs_few_digits(offset: float, by: str) -> None:
    torch.manual_seed(0)
    part = RepConv2d(8, 8, 1).train()
    exact = copy.deepcopy(part).double()
    x = (torch.randn(4, 8, 16, 16) + offset).to(memory_format=torch.channels_last)
    error = (merged_forward(part, x).double() - exact(x.double())).abs().max().item()
    assert error < 1e-5 * (1 + offset / 2)


# Odd sizes, batches of two; halved twice and once more by the gates, the smallest has 1x1 maps.
@pytest.mark.parametrize(
    ("width", "shape"),
    [
        *((width, (3, 9, 17)) for width in WIDTHS),
        *((width, shape) for width in (1.0, 2.2) for shape in ((2, 16, 16), (2, 8, 8))),
    ],
)
def test_the_whole_network_is_the_same(width: float, shape: tuple[int, int, int]) -> None:
    # In maps of 2x2 of two pictures batch norm sees eight values; where they hardly differ it
    # magnifies rounding, in whatever form: the definition's own then measures it.
    assert_same_network(width, shape, by_rounding=30 if shape == (2, 8, 8) else 0)


# Fewer pictures than threads, and shares that are not alike.
@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("threads", [2, 3])
def test_the_whole_network_is_the_same_by_several_threads(threads: int, count: int) -> None:
    torch.set_num_threads(threads)
    shared = library(torch.float64)
    assert shared is not None and shared.omp_get_max_threads() == threads
    assert_same_network(1.0, (count, 16, 16))


def test_the_whole_network_is_the_same_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "usable", lambda x: False)
    monkeypatch.setattr(calls, "usable_for", lambda x: False)
    assert_same_network(1.0, (4, 32, 32))


def test_the_larger_network_is_the_same() -> None:
    assert_same_network(0.5, (3, 32, 24), name="ghostnetv3")


def assert_same_network(
    width: float,
    shape: tuple[int, int, int],
    name: str = "ghostnetv3_small",
    by_rounding: float = 0,
) -> None:
    """Of merged and multi-branch training: logits, all gradients and all running statistics.

    Gradients may differ ``by_rounding`` times what two memory formats of the multi-branch form
    differ by, where that is more than the tolerance.
    """
    torch.manual_seed(0)
    count, *size = shape
    reference = scrambled(create_model(name, width=width)).to(memory_format=torch.channels_last)
    merged = copy.deepcopy(reference)
    fast.use(reference, "branches")
    fast.use(merged, "merged")
    x = torch.randn(count, 3, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    labels = torch.arange(count)
    other = copy.deepcopy(reference).to(memory_format=torch.contiguous_format)
    logits, grads = [], []
    for model, memory_format in (
        (reference, torch.channels_last),
        (merged, torch.channels_last),
        (other, torch.contiguous_format),
    ):
        logits.append(model(x.to(memory_format=memory_format)))
        nn.functional.cross_entropy(logits[-1], labels).backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    rounding = largest_difference(grads[2], grads[0])
    assert rounding < 1e-4
    allowed = max(TOLERANCE, by_rounding * rounding)
    assert largest_difference(grads[1], grads[0]) <= allowed
    assert_close(logits[1], logits[0], "logits")
    for name, buffer in reference.named_buffers():
        error = (merged.get_buffer(name) - buffer).abs().max().item()
        assert error <= TOLERANCE * buffer.abs().max().item(), name


def test_fifty_steps_follow_as_closely_as_another_order_of_summation() -> None:
    """Three trainings in float32: the definition, the definition in another memory format (so
    with other orders of summation), and the merged form."""
    x = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) % 10
    losses = []
    for form, memory_format in (
        ("branches", torch.channels_last),
        ("branches", torch.contiguous_format),
        ("merged", torch.channels_last),
    ):
        torch.manual_seed(0)
        model = create_model("ghostnetv3_small", width=0.5).train().to(memory_format=memory_format)
        fast.use(model, form)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        steps = []
        for _ in range(50):
            loss = nn.functional.cross_entropy(model(x.to(memory_format=memory_format)), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            steps.append(loss.item())
        losses.append(torch.tensor(steps))
    definition, other, merged = losses
    assert definition[-1] < 0.5 * definition[0]
    noise = (other - definition).abs()
    # Single steps cross by chance; what has drifted apart by then bounds each.
    assert (merged - definition).abs().mean() <= 4 * noise.mean() + 1e-6
    assert (merged - definition).abs().max() <= 4 * noise.max() + 1e-6


def test_a_folded_network_forgets_the_form() -> None:
    torch.manual_seed(0)
    model = create_model("ghostnetv3_small", width=0.5)
    fast.use(model, "merged")
    x = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last)
    model.train()(x)
    folded = reparameterize(model.eval())
    assert torch.isfinite(folded.train()(x)).all()


def test_a_value_that_is_no_number_is_not_hidden(by: str) -> None:
    ghost = GhostModule(4, 8, gated=True).train()
    fast.use(ghost, "merged")
    x = torch.randn(2, 4, 4, 4).to(memory_format=torch.channels_last)
    x[0, 0, 0, 0] = float("nan")
    assert ghost(x).isnan().any()


def largest_difference(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest of all tensors' differences, each relative to its tensor's largest number.

    A bias in front of a batch norm has a gradient of zero, and shows only rounding: absolute.
    """
    found = []
    for a, b in zip(actual, expected, strict=True):
        largest = b.abs().max().item()
        found.append((a - b).abs().max().item() / (largest if largest > TOLERANCE else 1.0))
    return max(found)
