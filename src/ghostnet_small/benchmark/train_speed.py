"""Time a training step in each of the forms that a network can be trained in."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.benchmark.busy_cores import busy_cores, check_beside
from ghostnet_small.benchmark.step_cost import spread_of, step_cost
from ghostnet_small.benchmark.train_variants import USUAL, VARIANTS, build_step, in_form
from ghostnet_small.data.decoded.pixels import MIN_SIZE
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.models.teachers import is_timm
from ghostnet_small.provenance import describe_device, provenance_row
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.timing import seconds_in_turn
from ghostnet_small.use.agreement import CheckFailed

CHANNELS = 3
# The allowed difference of the two forms' losses in float32, relative where a loss is above 1; or
# so many times the difference of two orders of summation of one form, if that is more.
TOLERANCE, ROUNDING = 1e-4, 10
MOST_CHECKED = 256  # images: more take memory, and show no more
# Waiting for a GPU after each step would leave it idle, which no training does.
CALLS = {"cpu": 1}
CALLS_ELSEWHERE = 10
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


def compare_training_steps(
    recipe: Recipe,
    *,
    variants: Sequence[str] = USUAL,
    batches: Sequence[int] | None = None,
    classes: int = 10,
    size: int = 32,
    warm_up: int = 3,
    repetitions: int = 7,
    calls: int | None = None,
    beside: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure images per second, with spread and ratios, and memory of each of ``variants``.

    A step is one of SGD on a fixed batch of random images. All variants start from the same
    network, the folded ones from its fold, and have turns of ``calls`` steps each (None: 1 on a
    CPU, else 10), while ``beside`` processes keep as many cores busy. Ratios are medians of those
    within one repetition, None where the variant that they compare with is not among ``variants``.
    With ``batches`` all sizes take turns, and each variant has these figures by size and the
    figures of ``step_cost``.

    Raises ``InputError`` where the recipe's network, batch, device or precision, or an argument,
    cannot be, or memory does not hold the batch; ``CheckFailed`` where merged and multi-branch
    training do not have the same loss.
    """
    sizes = [recipe.train.batch_size] if batches is None else sorted(set(batches))
    _check(recipe, variants, sizes, size, sweep=batches is not None)
    check_beside(beside)
    accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    device = accelerator.device
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    keep_freed_memory()
    calls = calls or CALLS.get(device.type, CALLS_ELSEWHERE)
    torch.manual_seed(recipe.train.seed)
    width, largest = recipe.model.width, sizes[-1]
    with enough_memory(f"{largest} images of {size}x{size}, {classes} classes, width {width:g}"):
        network = create_ghostnet(
            recipe.model.name, width=width, num_classes=classes, in_channels=CHANNELS
        ).to(device)
        pictures = torch.randn(largest, CHANNELS, size, size, device=device)
        targets = torch.randint(classes, (largest,), device=device)
        losses = _check_losses(network, pictures[:MOST_CHECKED], targets[:MOST_CHECKED])
        steps = {
            (name, batch): build_step(
                network, pictures[:batch], targets[:batch], VARIANTS[name], accelerator
            )
            for name in variants
            for batch in sizes
        }
        with busy_cores(beside):
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
        measured = {
            batch: figures(
                {name: seconds[name, batch] for name in variants}, pictures=batch * calls
            )
            for batch in sizes
        }
        for (name, batch), step in steps.items():
            measured[batch][name]["peak_memory_bytes"] = step.peak_bytes(device)
            measured[batch][name]["held_memory_bytes"] = step.held_bytes()
    origin = provenance_row()
    if device.type != "cpu":
        origin["device"] = describe_device(device)["name"]
    return {
        "model": recipe.model.name,
        "width": width,
        **({"batch_size": largest} if batches is None else {"batch_sizes": sizes}),
        "picture": [CHANNELS, size, size],
        "classes": classes,
        "precision": recipe.train.precision,
        "seed": recipe.train.seed,
        "kind": device.type,
        "threads": torch.get_num_threads(),
        "beside": beside,
        "warm_up": warm_up,
        "repetitions": repetitions,
        "steps": calls,
        "variants": measured[largest]
        if batches is None
        else {
            name: {
                "batches": {str(batch): measured[batch][name] for batch in sizes},
                **step_cost({batch: seconds[name, batch] for batch in sizes}, steps=calls),
            }
            for name in variants
        },
        "losses": losses,
        "torch": str(torch.__version__),
        **origin,
    }


def _check(
    recipe: Recipe, variants: Sequence[str], sizes: Sequence[int], size: int, *, sweep: bool
) -> None:
    """Raise ``InputError`` if these steps cannot be compared."""
    where = "--batches" if sweep else "train.batch_size"
    if sizes[0] < 2:
        raise InputError(f"{where} {sizes[0]} leaves a single image to batch norm; give at least 2")
    if sweep and len(sizes) < 2:
        raise InputError(
            f"--batches {sizes[0]} is one size, and the fixed cost of a step needs two or more; "
            f"give such as 16,64,256, or --train.batch_size {sizes[0]}"
        )
    compiled = [name for name in variants if VARIANTS[name].compiled]
    if sweep and compiled:
        raise InputError(
            f"--variants {','.join(compiled)} with --batches is not allowed, because code is made "
            "for one batch size; give variants that are not compiled, or --train.batch_size"
        )
    if is_timm(recipe.model.name):
        raise InputError(
            f"model.name {recipe.model.name} has one form, and forms are compared here; give "
            "ghostnetv3_small or ghostnetv3"
        )
    if size < MIN_SIZE:
        raise InputError(f"--size {size} is not allowed; give {MIN_SIZE} or more pixels")


def figures(seconds: Mapping[str, Sequence[float]], *, pictures: int) -> dict[str, dict[str, Any]]:
    """Return each variant's images per second and ratios, from its seconds for ``pictures``."""
    speeds = {name: [pictures / taken for taken in times] for name, times in seconds.items()}
    found: dict[str, dict[str, Any]] = {}
    for name, own in speeds.items():
        found[name] = {**spread_of("images_per_s", own), "n": len(own)}
        for ratio, baseline in RATIOS.items():
            found[name][ratio] = (
                statistics.median(a / b for a, b in zip(own, speeds[baseline], strict=True))
                if baseline in speeds
                else None
            )
    return found


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
            model, own = in_form(network, pictures, VARIANTS[name])
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
