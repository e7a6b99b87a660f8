"""A network of timm with the interface of a GhostNet, fresh or pretrained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.errors import InputError
from ghostnet_small.models.network import Network
from ghostnet_small.models.pretrained import read_pretrained
from ghostnet_small.models.settings import Interpolation
from ghostnet_small.models.teachers import USUAL_UPSAMPLE, TimmTeacher, teacher_of

# Pixels evaluated at once: 256 images of 32x32, or 20 upsampled to 224x224, whose stem keeps a
# quarter of the pixels. The batches of evaluation and prediction are meant for networks that need
# less memory, and a CPU's caches for still smaller ones.
PART_PIXELS, UPSAMPLED_PART_PIXELS = 1 << 18, 1 << 20


class TimmNetwork(Network):
    """A network of timm with the interface of a GhostNet: ``(N, C, H, W) -> logits (N, K)``.

    With ``upsample``, images are first resized to this many pixels a side, after normalisation:
    a teacher sees the same view as its student. State names are timm's with the prefix
    ``network.``.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        upsample: int | None = None,
        interpolation: Interpolation = "bilinear",
        draws: bool = False,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.upsample = upsample
        self.interpolation = interpolation
        self.config = config
        self.draws = draws

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map: ``(N, C, H, W) -> (N, features, h, w)``."""
        features: Tensor = self.network.forward_features(self._resized(x))  # type: ignore[operator]
        return features

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            logits: Tensor = self.network(self._resized(x))
            return logits
        # In evaluation images are independent, so they need not be in memory together.
        if self.upsample is None:
            count = PART_PIXELS // (x.shape[2] * x.shape[3])
        else:
            count = UPSAMPLED_PART_PIXELS // self.upsample**2
        parts = x.split(max(1, count))
        return torch.cat([self.network(self._resized(part)) for part in parts])

    def last_layer(self) -> nn.Module:
        """See the base class."""
        network: Any = self.network
        get_classifier = getattr(network, "get_classifier", tuple)
        found = _last_layers(get_classifier(), self.config["num_classes"])
        if not found:
            raise InputError(
                f"{self.config['architecture']} has no classifier, but outputs features or boxes; "
                "give a classification network of timm"
            )
        return found[0] if len(found) == 1 else nn.ModuleList(found)

    def whole(self) -> nn.Module:
        """See the base class: the batch is not split."""
        if self.upsample is None:
            return self.network
        larger = nn.Upsample(size=(self.upsample,) * 2, mode=self.interpolation)
        return nn.Sequential(larger, self.network)

    def _resized(self, x: Tensor) -> Tensor:
        if self.upsample is None:
            return x
        side = (self.upsample, self.upsample)
        return functional.interpolate(x, size=side, mode=self.interpolation, align_corners=False)

    def check_size(self, height: int, width: int) -> None:
        """Raise ``InputError`` where images of this size do not suit the network.

        They are too small for its strides and pools, larger than ``upsample``, or a single one
        would fill the memory.
        """
        name, pictures = self.config["architecture"], f"images of {width}x{height}"
        if self.upsample is not None and max(height, width) > self.upsample:
            raise InputError(
                f"{pictures} are larger than model.upsample {self.upsample} of {name}; give "
                f"data.size {self.upsample}, or a larger model.upsample"
            )
        if self.upsample is None and height * width > PART_PIXELS:
            raise InputError(
                f"{pictures} are too large for {name}, which is adapted to tiny ones; give a "
                f"smaller data.size, or model.upsample, such as {USUAL_UPSAMPLE}"
            )
        weight = next(self.parameters())
        shape = (1, self.config["in_channels"], height, width)
        was_training = self.training
        try:
            with torch.no_grad():
                zeros = torch.zeros(shape, device=weight.device, dtype=weight.dtype)
                left = self.eval().forward_features(zeros).numel() > 0
        except RuntimeError:
            left = False
        finally:
            self.train(was_training)
        if left:
            return
        if self.upsample is None:
            raise InputError(
                f"{pictures} are too small for {name}, whose layers leave no pixel; give "
                f"data.size 32 or larger, or model.upsample {USUAL_UPSAMPLE}"
            )
        raise InputError(
            f"model.upsample {self.upsample} is too small for {name}, whose layers leave no "
            f"pixel; give {USUAL_UPSAMPLE}"
        )


def create_timm(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    pretrained: bool | str = False,
    upsample: int | None = None,
    interpolation: Interpolation = "bilinear",
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> TimmNetwork:
    """Return a network that timm builds, with fresh or ``pretrained`` weights.

    Pretrained weights are timm's, fetched from the Hugging Face hub at first use, or those in a
    file (see ``read_pretrained``). The classifier is fresh unless the weights have the same number
    of classes. A stem adapted to images that are not upsampled is fresh too, except that of
    ``inception_v3``.

    Raises ``InputError`` where timm is missing or has no such network, the network has no
    classifier of ``num_classes`` or no such setting, or the weights are not available.
    """
    teacher = teacher_of(name)
    upsample = teacher.upsample if upsample is None else upsample
    words: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels}
    if teacher.one_size:
        words["img_size"] = upsample
    # Omitted where they are 0: not every network has them.
    words |= {"drop_rate": dropout} if dropout else {}
    words |= {"drop_path_rate": drop_path} if drop_path else {}
    network = _from_timm(name, teacher, pretrained, words)
    if teacher.fit is not None and upsample is None:
        teacher.fit(network)
    config: dict[str, Any] = {
        "architecture": name,
        "width": 1.0,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "upsample": upsample,
    }
    if upsample is not None:
        config["interpolation"] = interpolation
    made = TimmNetwork(
        network,
        upsample=upsample,
        interpolation=interpolation,
        draws=dropout > 0 or drop_path > 0,
        config=config,
    )
    made.last_layer()  # raises where there is none
    return made


def _from_timm(
    name: str, teacher: TimmTeacher, pretrained: bool | str, words: dict[str, Any]
) -> Any:
    import timm

    if isinstance(pretrained, str):
        overlay = read_pretrained(pretrained, teacher)
        words = {**words, "pretrained_cfg_overlay": overlay}
    try:
        with _quiet():
            return timm.create_model(teacher.timm_name, pretrained=bool(pretrained), **words)
    except Exception as error:  # the hub's client and timm raise many types
        reason = " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
    if pretrained is not True:
        raise InputError(
            f"timm cannot build {name} with "
            f"{', '.join(f'{k} {v}' for k, v in words.items() if k in _TOLD)} ({reason}); it may "
            "have no dropout or drop_path, or suit another model.upsample"
        )
    raise InputError(
        f"the pretrained weights {teacher.timm_name} cannot be fetched ({reason}); check the "
        "network (HF_HUB_OFFLINE must not forbid it), give a mirror with HF_ENDPOINT, copy the "
        "cache of a machine that has them (HF_HOME), name a file of them with model.pretrained "
        "FILE, or train with model.pretrained false"
    )


_TOLD = ("num_classes", "in_chans", "img_size", "drop_rate", "drop_path_rate")


def _last_layers(classifier: Any, classes: int) -> list[nn.Module]:
    """Return the layers of a network's classifier, or classifiers, that output logits."""
    heads = classifier if isinstance(classifier, tuple) else (classifier,)
    found = []
    for head in heads:
        parts = reversed(list(head.modules())) if isinstance(head, nn.Module) else ()
        weights = ((part, getattr(part, "weight", None)) for part in parts)
        # A norm's weight has one dimension.
        found += [
            part for part, w in weights if w is not None and w.ndim > 1 and len(w) == classes
        ][:1]
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' log lines and warnings: a failure is reported in one line."""
    loggers = [logging.getLogger(library) for library in ("timm", "huggingface_hub", "httpx")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
