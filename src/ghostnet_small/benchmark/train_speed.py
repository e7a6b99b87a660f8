"""Time a training step in each of the forms that a network can be trained in."""

from __future__ import annotations

import copy
import math
import re
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.data.decoded.pixels import MIN_SIZE
from ghostnet_small.errors import InputError, nearest
from ghostnet_small.fast import use
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.models.settings import Compute
from ghostnet_small.models.teachers import is_timm
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.provenance import describe_device, provenance_row
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.timing import FixedStep, peak_memory, seconds_in_turn
from ghostnet_small.use.agreement import CheckFailed

CHANNELS = 3
# The allowed difference of the two forms' losses in float32, relative where a loss is above 1; or
# so many times the difference of two orders of summation of one form, if that is more.
TOLERANCE, ROUNDING = 1e-4, 10
# Waiting for a GPU after each step would leave it idle, which no training does.
CALLS = {"cpu": 1}
CALLS_ELSEWHERE = 10


class Variant(NamedTuple):
    """A form of the network, the memory format of its weights and images, and whether
    ``torch.compile`` makes code of it."""

    form: Compute | Literal["folded"]
    memory_format: torch.memory_format
    compiled: bool = False


VARIANTS = {
    "multibranch": Variant("branches", torch.contiguous_format),
    "multibranch_channels_last": Variant("branches", torch.channels_last),
    "merged": Variant("merged", torch.channels_last),
    "plain": Variant("folded", torch.contiguous_format),
    "plain_channels_last": Variant("folded", torch.channels_last),
    "multibranch_compiled": Variant("branches", torch.channels_last, compiled=True),
    "plain_compiled": Variant("folded", torch.channels_last, compiled=True),
}
# Making code takes minutes: such variants are measured where they are asked for.
USUAL = tuple(name for name, variant in VARIANTS.items() if not variant.compiled)
RATIOS = {"ratio_to_plain": "plain_channels_last", "ratio_to_multibranch": "multibranch"}
CHECKED = ("multibranch", "multibranch_channels_last", "merged")
# The settings of a recipe that a step depends on.
SETTINGS = (
    "model.name",
    "model.width",
    "train.batch_size",
    "train.precision",
    "train.seed",
    "train.device",
    "train.threads",
)


def chosen_variants(
    words: str | None, known: Collection[str] = VARIANTS, usual: Collection[str] = USUAL
) -> list[str]:
    """Return the variants of comma-separated names, each once; None: the usual ones.

    Raises ``InputError`` at a name that is not known, with the nearest.
    """
    if words is None:
        return list(usual)
    names = list(dict.fromkeys(word.strip() for word in words.split(",")))
    for name in names:
        if name not in known:
            raise InputError(
                f"variant {name!r} is not known; {nearest(name, known)}, of {', '.join(known)}"
            )
    return names


def compare_training_steps(
    recipe: Recipe,
    *,
    variants: Sequence[str] = USUAL,
    classes: int = 10,
    size: int = 32,
    warm_up: int = 3,
    repetitions: int = 7,
    calls: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure images per second, with spread and ratios, and memory of each of ``variants``.

    A step is one of SGD on a fixed batch of random images. All variants start from the same
    network, the folded ones from its fold, and have turns of ``calls`` steps each (None: 1 on a
    CPU, else 10). Ratios are medians of those within one repetition, None where the variant that
    they compare with is not among ``variants``.

    Raises ``InputError`` where the recipe's network, batch, device or precision, or ``size``,
    cannot be, or memory does not hold the batch; ``CheckFailed`` where merged and multi-branch
    training do not have the same loss.
    """
    batch = recipe.train.batch_size
    if batch < 2:
        raise InputError(
            f"train.batch_size {batch} leaves a single image to batch norm; give at least 2"
        )
    if is_timm(recipe.model.name):
        raise InputError(
            f"model.name {recipe.model.name} has one form, and forms are compared here; give "
            "ghostnetv3_small or ghostnetv3"
        )
    if size < MIN_SIZE:
        raise InputError(f"--size {size} is not allowed; give {MIN_SIZE} or more pixels")
    accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    device = accelerator.device
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    keep_freed_memory()
    calls = calls or CALLS.get(device.type, CALLS_ELSEWHERE)
    torch.manual_seed(recipe.train.seed)
    width = recipe.model.width
    with enough_memory(f"{batch} images of {size}x{size}, {classes} classes, width {width:g}"):
        network = create_ghostnet(
            recipe.model.name, width=width, num_classes=classes, in_channels=CHANNELS
        ).to(device)
        pictures = torch.randn(batch, CHANNELS, size, size, device=device)
        targets = torch.randint(classes, (batch,), device=device)
        losses = _check_losses(network, pictures, targets)
        steps = {
            name: FixedStep(
                *_in_form(network, pictures, VARIANTS[name]),
                targets,
                accelerator,
                compiled=VARIANTS[name].compiled,
            )
            for name in variants
        }
        for step in steps.values():
            for _ in range(warm_up):
                step()
        seconds = seconds_in_turn(
            steps,
            repetitions=repetitions,
            calls=calls,
            finish=waiting_for(device),
            clock=clock,
        )
        measured = figures(seconds, pictures=batch * calls)
        for name, step in steps.items():
            measured[name]["peak_memory_bytes"] = peak_memory(step, device)
            measured[name]["held_memory_bytes"] = step.held_bytes()
    origin = provenance_row()
    if device.type != "cpu":
        origin["device"] = describe_device(device)["name"]
    return {
        "model": recipe.model.name,
        "width": width,
        "batch_size": batch,
        "picture": [CHANNELS, size, size],
        "classes": classes,
        "precision": recipe.train.precision,
        "seed": recipe.train.seed,
        "kind": device.type,
        "threads": torch.get_num_threads(),
        "warm_up": warm_up,
        "repetitions": repetitions,
        "steps": calls,
        "variants": measured,
        "losses": losses,
        "torch": str(torch.__version__),
        **origin,
    }


def figures(seconds: Mapping[str, Sequence[float]], *, pictures: int) -> dict[str, dict[str, Any]]:
    """Return each variant's images per second and ratios, from its seconds for ``pictures``."""
    speeds = {name: [pictures / taken for taken in times] for name, times in seconds.items()}
    found: dict[str, dict[str, Any]] = {}
    for name, own in speeds.items():
        low, middle, high = _quartiles(own)
        found[name] = {
            "images_per_s": middle,
            "images_per_s_min": min(own),
            "images_per_s_quartile1": low,
            "images_per_s_quartile3": high,
            "images_per_s_max": max(own),
            "n": len(own),
        }
        for ratio, baseline in RATIOS.items():
            found[name][ratio] = (
                statistics.median(a / b for a, b in zip(own, speeds[baseline], strict=True))
                if baseline in speeds
                else None
            )
    return found


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def _check_losses(network: nn.Module, pictures: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the training forms' losses in float32; sets running statistics of ``network``.

    With the statistics of a fresh network its fold would have activations beyond any type's
    range. Raises ``CheckFailed`` where the losses differ.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    losses = {}
    # On a GPU convolutions may round to TF32, by which the two would differ more.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for name in CHECKED:
            model, own = _in_form(network, pictures, VARIANTS[name])
            # Gradients are left on: the merged form may take another way without.
            losses[name] = functional.cross_entropy(model.train()(own), targets).item()
            if name == "multibranch":
                network.load_state_dict(model.state_dict())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    reference, reordered, merged = (losses[name] for name in CHECKED)
    allowed = max(TOLERANCE * max(1.0, abs(reference)), ROUNDING * abs(reordered - reference))
    if not (math.isfinite(merged) and abs(merged - reference) <= allowed):
        raise CheckFailed(
            f"the loss of merged training is {merged:.6f}, of multi-branch training "
            f"{reference:.6f}: they differ by more than {allowed:.1e}, so nothing was timed; "
            "train with --model.rep_conv branches and report this"
        )
    return losses


def _in_form(network: nn.Module, pictures: Tensor, variant: Variant) -> tuple[nn.Module, Tensor]:
    """Return a copy of ``network`` in the form of ``variant``, and images in its memory format."""
    if variant.form == "folded":
        model = reparameterize(network.eval()).requires_grad_(True)
    else:
        model = copy.deepcopy(network)
        use(model, variant.form)
    own = pictures.contiguous(memory_format=variant.memory_format)
    return model.to(memory_format=variant.memory_format), own


def waiting_for(device: torch.device) -> Callable[[], object]:
    """Return a function that waits until ``device`` has finished its work."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Raise ``InputError`` if ``what`` needs more memory than there is."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        # The CPU's allocator has no exception of its own, nor has a size beyond 64 bits.
        if not isinstance(error, torch.OutOfMemoryError) and not re.search(
            "can't allocate memory|[Oo]verflow", str(error)
        ):
            raise
        raise InputError(
            f"{what}: this does not fit into memory; make one of them smaller, or give fewer "
            "--variants"
        ) from None
