"""The variants of a training step: the forms a network is trained in, and the step of each."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Literal, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.fast import use
from ghostnet_small.models.settings import Compute
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.train.timing import EngineStep, FixedStep


class Variant(NamedTuple):
    """A form of the network, the memory format of its weights and images, whether
    ``torch.compile`` makes code of it, and whether the engine runs the step."""

    form: Compute | Literal["folded"]
    memory_format: torch.memory_format
    compiled: bool = False
    engine: bool = False


VARIANTS = {
    "multibranch": Variant("branches", torch.contiguous_format),
    "multibranch_channels_last": Variant("branches", torch.channels_last),
    "merged": Variant("merged", torch.channels_last),
    "engine": Variant("merged", torch.channels_last, engine=True),
    "plain": Variant("folded", torch.contiguous_format),
    "plain_channels_last": Variant("folded", torch.channels_last),
    "multibranch_compiled": Variant("branches", torch.channels_last, compiled=True),
    "plain_compiled": Variant("folded", torch.channels_last, compiled=True),
}
# Making code takes minutes: such variants are measured where they are asked for.
USUAL = tuple(name for name, variant in VARIANTS.items() if not variant.compiled)


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


def build_step(
    network: nn.Module,
    pictures: Tensor,
    targets: Tensor,
    variant: Variant,
    accelerator: Accelerator,
) -> FixedStep:
    """Return the step of ``variant`` on this batch, of a copy of ``network``."""
    model, own = in_form(network, pictures, variant)
    if variant.engine:
        return EngineStep(model, own, targets, accelerator)
    return FixedStep(model, own, targets, accelerator, compiled=variant.compiled)


def in_form(network: nn.Module, pictures: Tensor, variant: Variant) -> tuple[nn.Module, Tensor]:
    """Return a copy of ``network`` in the form of ``variant``, and images in its memory format."""
    if variant.form == "folded":
        model = reparameterize(network.eval()).requires_grad_(True)
    else:
        model = copy.deepcopy(network)
        use(model, variant.form)
    own = pictures.contiguous(memory_format=variant.memory_format)
    return model.to(memory_format=variant.memory_format), own
