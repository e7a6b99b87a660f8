"""Weights of the paper's code and of timm, under their own names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import Architecture, GhostNetV3

# Parts of a bottleneck, published name to ours. A longer name comes before its prefix.
_PARTS = (
    (r"(ghost[12])\.primary_rpr_conv\.(\d+)", r"\1.primary.branches.\2"),
    (r"(ghost[12])\.primary_rpr_scale", r"\1.primary.scale"),
    (r"(ghost[12])\.primary_rpr_skip", r"\1.primary.skip"),
    (r"(ghost[12])\.cheap_rpr_conv\.(\d+)", r"\1.cheap.branches.\2"),
    (r"(ghost[12])\.cheap_rpr_scale", r"\1.cheap.scale"),
    (r"(ghost[12])\.cheap_rpr_skip", r"\1.cheap.skip"),
    (r"ghost1\.short_conv\.0", "ghost1.gate.project.conv"),
    (r"ghost1\.short_conv\.1", "ghost1.gate.project.bn"),
    (r"ghost1\.short_conv\.2", "ghost1.gate.horizontal.conv"),
    (r"ghost1\.short_conv\.3", "ghost1.gate.horizontal.bn"),
    (r"ghost1\.short_conv\.4", "ghost1.gate.vertical.conv"),
    (r"ghost1\.short_conv\.5", "ghost1.gate.vertical.bn"),
    (r"dw_rpr_conv\.(\d+)", r"downsample.branches.\1"),
    (r"dw_rpr_scale", "downsample.scale"),
    (r"se\.conv_reduce", "se.reduce"),
    (r"se\.conv_expand", "se.expand"),
    (r"shortcut\.0", "shortcut.0.conv"),
    (r"shortcut\.1", "shortcut.0.bn"),
    (r"shortcut\.2", "shortcut.1.conv"),
    (r"shortcut\.3", "shortcut.1.bn"),
)
_ENDS = (
    ("conv_stem.", "stem.conv."),
    ("bn1.", "stem.bn."),
    ("conv_head.", "head."),
    ("classifier.", "classifier."),
)


def rename_published(name: str, architecture: Architecture) -> str | None:
    """Return our name of a published parameter or buffer; ``None`` where it is unknown."""
    for old, new in _ENDS:
        if name.startswith(old):
            return new + name.removeprefix(old)
    found = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(.+)", name)
    if found is None:
        return None
    group, place, rest = int(found[1]), int(found[2]), found[3]
    if group == len(architecture.groups):
        last = re.fullmatch(r"(conv|bn1)\.(.+)", rest)
        return None if last is None else f"last.{last[1].removesuffix('1')}.{last[2]}"
    if group > len(architecture.groups) or place >= architecture.groups[group]:
        return None
    number = sum(architecture.groups[:group]) + place
    for pattern, ours in _PARTS:
        part = re.match(pattern + r"(?=\.)", rest)
        if part is not None:
            # The batch norm after a branch's convolution is ``bn`` in the paper's code, and
            # ``bn1`` in timm.
            end = re.sub(r"^\.bn1\.", ".bn.", rest[part.end() :])
            return f"blocks.{number}.{part.expand(ours)}{end}"
    return None


def published_names(model: GhostNetV3, names: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield pairs of published and our name; raise ``InputError`` at the first unknown one."""
    for name in names:
        ours = rename_published(name, model.architecture)
        if ours is None:
            raise InputError(
                f"{name!r} is not a parameter of a published {model.config['architecture']}; "
                "give a state dict of the paper's code or of timm's ghostnetv3"
            )
        yield name, ours


def load_published_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Fill ``model`` (training form) from a state dict with the published code's or timm's names.

    Raises ``InputError`` that names the first unknown, missing or differently shaped entry;
    the model is unchanged then.

    Source: the code of arXiv:2509.12380; timm's ``ghostnetv3``.
    """
    if not isinstance(model, GhostNetV3):
        raise InputError(f"model is a {type(model).__name__}; make one with create_model(...)")
    renamed = {ours: state_dict[name] for name, ours in published_names(model, state_dict)}
    load_checked(model, renamed, what="the published state dict")


def load_checked(
    model: nn.Module, state: Mapping[str, Tensor], *, what: str, assign: bool = False
) -> None:
    """Fill ``model`` from ``state``, or raise a one-line ``InputError`` and leave it unchanged.

    Counters of batches (``num_batches_tracked``) may be absent: old checkpoints lack them,
    and nothing here reads them. With ``assign`` the model uses the tensors without a copy.
    """
    own = model.state_dict()
    optional = () if assign else ("num_batches_tracked",)
    # Shapes first: another width also changes the branches, and shapes give the clearest message.
    for name in (name for name in own if name in state):
        check_shape(name, tuple(state[name].shape), tuple(own[name].shape), what=what)
        # Other floating-point types are converted; whole numbers are an error.
        if state[name].is_floating_point() != own[name].is_floating_point():
            raise InputError(
                f"{what} has {name} in {state[name].dtype}, the model's is {own[name].dtype}; "
                "save the weights in that type"
            )
    missing = [name for name in own if name not in state and not name.endswith(optional)]
    extra = [name for name in state if name not in own]
    if missing or extra:
        example = (f"lacks {missing[0]!r}" if missing else f"has an unknown {extra[0]!r}") + (
            f" ({len(missing)} missing, {len(extra)} unknown in all)"
        )
        raise InputError(
            f"{what} is of another architecture: it {example}; "
            "build the model with the architecture, width and form that the weights were made with"
        )
    if assign:
        # Unconverted, they would fail with images in float32.
        state = {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
    model.load_state_dict(state, strict=False, assign=assign)


def check_shape(name: str, shape: tuple[int, ...], own: tuple[int, ...], *, what: str) -> None:
    """Raise ``InputError`` where ``shape`` of tensor ``name`` is not the model's ``own``."""
    if shape != own:
        raise InputError(
            f"{what} is of another architecture or size: {name} has shape {shape}, the model's is "
            f"{own}; check architecture, width, head, num_classes and in_channels"
        )
