"""Teachers: networks of timm by name, fitted to tiny pictures.

They are built for 224 pixels and more, of which a stem and pools keep a 32nd. Shown tiny pictures
as they are, a network would have one place left, so its stem is fitted; where the pictures are
upsampled inside it instead, it stays as it was published.

A teacher has no normalisation of its own: it is fed by ``data.mean`` and ``data.std`` of the recipe
that it was trained by, which its ``ModelInfo`` holds. A recipe that starts from pretrained weights
sets these to what the weights were trained under: ImageNet's mean (0.485, 0.456, 0.406) and std
(0.229, 0.224, 0.225), or 0.5 in every channel for ``inception_v3`` and ``efficientnetv2_s``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.errors import InputError
from ghostnet_small.models.network import Network

# Pixels that are evaluated at once: 256 pictures of 32x32, or 83 that are upsampled to 224x224,
# whose stem keeps a sixteenth of them. The batches of evaluation and prediction are made for
# networks that need less memory.
PART_PIXELS, UPSAMPLED_PART_PIXELS = 1 << 18, 1 << 22
USUAL_UPSAMPLE = 224


class Teacher(NamedTuple):
    """timm's name, with the tag of the weights that ``pretrained`` starts from; what fits the
    network to pictures that are shown as they are, ``None``: nothing does; and the side in pixels
    that they are upsampled to unless another is asked for."""

    timm_name: str
    fit: Callable[[Any], None] | None
    upsample: int | None = None


def _fit_resnet(network: Any) -> None:
    """A 3x3 stem of stride 1, and no pool: 32x32 ends as 4x4.

    Source: arXiv:1512.03385, section 4.2 (the stem on CIFAR-10).
    """
    network.conv1 = _small_stem(network.conv1)
    network.maxpool = nn.Identity()


def _fit_densenet(network: Any) -> None:
    """A 3x3 stem of stride 1, and no pool: 32x32 ends as 4x4.

    Source: arXiv:1608.06993, section 4.2 (the stem on CIFAR).
    """
    network.features.conv0 = _small_stem(network.features.conv0)
    network.features.pool0 = nn.Identity()


def _fit_vgg(network: Any) -> None:
    """Global average pool and one linear layer: five pools leave 1x1 of 32x32.

    Differs from the paper (arXiv:1409.1556): its head of two layers of 4096 reads 7x7 places, of
    which 48 would be copies here, and has 120 of the network's 129 million parameters.
    """
    from timm.layers import ClassifierHead

    classes = network.num_classes
    network.pre_logits = nn.Identity()
    network.head_hidden_size = network.num_features
    network.head = ClassifierHead(network.num_features, classes, pool_type="avg")
    nn.init.normal_(network.head.fc.weight, std=0.01)
    nn.init.zeros_(network.head.fc.bias)


def _fit_inception(network: Any) -> None:
    """A stem of stride 1, padded and without pools: 32x32 ends as 7x7. Its kernels stay."""
    for part in (network.Conv2d_1a_3x3, network.Conv2d_2a_3x3, network.Conv2d_4a_3x3):
        part.conv.stride, part.conv.padding = (1, 1), (1, 1)
    network.Pool1, network.Pool2 = nn.Identity(), nn.Identity()


def _small_stem(published: nn.Conv2d) -> nn.Conv2d:
    """A fresh 3x3 convolution of stride 1 in the place of a stem of 7x7."""
    stem = nn.Conv2d(published.in_channels, published.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem


# Tags are written out: timm's choice of weights for a bare name changes between its versions.
TEACHERS = {
    "resnet18": Teacher("resnet18.a1_in1k", _fit_resnet),
    "resnet34": Teacher("resnet34.a1_in1k", _fit_resnet),
    "resnet50": Teacher("resnet50.a1_in1k", _fit_resnet),
    "vgg13_bn": Teacher("vgg13_bn.tv_in1k", _fit_vgg),
    "densenet121": Teacher("densenet121.ra_in1k", _fit_densenet),
    "densenet161": Teacher("densenet161.tv_in1k", _fit_densenet),
    "inception_v3": Teacher("inception_v3.tv_in1k", _fit_inception),
    "efficientnetv2_s": Teacher("tf_efficientnetv2_s.in21k_ft_in1k", None, USUAL_UPSAMPLE),
}


class TimmNetwork(Network):
    """A network of timm behind the house's door: ``(N, C, H, W) -> logits (N, K)``.

    With ``upsample``, pictures are brought to so many pixels a side first (bilinear), after their
    normalisation: a teacher sees the very view that its student sees. The state has timm's names
    behind ``network.``.
    """

    def __init__(
        self, network: nn.Module, *, upsample: int | None = None, config: dict[str, Any]
    ) -> None:
        super().__init__()
        self.network = network
        self.upsample = upsample
        self.config = config

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map: ``(N, C, H, W) -> (N, features, h, w)``."""
        features: Tensor = self.network.forward_features(self._resized(x))  # type: ignore[operator]
        return features

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            logits: Tensor = self.network(self._resized(x))
            return logits
        # In evaluation no picture knows of another, so they need not be in memory together.
        if self.upsample is None:
            count = PART_PIXELS // (x.shape[2] * x.shape[3])
        else:
            count = UPSAMPLED_PART_PIXELS // self.upsample**2
        parts = x.split(max(1, count))
        return torch.cat([self.network(self._resized(part)) for part in parts])

    def last_layer(self) -> nn.Module:
        """As the base says."""
        network: Any = self.network
        layer: nn.Module = network.get_classifier()
        return layer

    def whole(self) -> nn.Module:
        """As the base says: the batch is not taken apart."""
        if self.upsample is None:
            return self.network
        return nn.Sequential(nn.Upsample(size=(self.upsample,) * 2, mode="bilinear"), self.network)

    def _resized(self, x: Tensor) -> Tensor:
        if self.upsample is None:
            return x
        side = (self.upsample, self.upsample)
        return functional.interpolate(x, size=side, mode="bilinear", align_corners=False)

    def check_size(self, height: int, width: int) -> None:
        """Raises ``InputError`` where strides and pools leave nothing of such pictures, where they
        are larger than what they are upsampled to, or where one alone would fill the memory."""
        name, pictures = self.config["architecture"], f"pictures of {width}x{height}"
        if self.upsample is not None and max(height, width) > self.upsample:
            raise InputError(
                f"{pictures} are larger than model.upsample {self.upsample} of {name}; give "
                f"data.size {self.upsample}, or a larger model.upsample"
            )
        if self.upsample is None and height * width > PART_PIXELS:
            raise InputError(
                f"{pictures} are too large for {name}, which is fitted to tiny ones; give a "
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
                f"{pictures} are too small for {name}, which leaves nothing of them; give "
                f"data.size 32 or larger, or model.upsample {USUAL_UPSAMPLE}"
            )
        raise InputError(
            f"model.upsample {self.upsample} is too small for {name}, which leaves nothing of so "
            f"few pixels; give {USUAL_UPSAMPLE}"
        )


def check_timm(name: str) -> None:
    """Raises ``InputError`` with the cure where timm, which ``name`` is built by, is missing."""
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"model {name} needs timm ({error}); install it by: pip install 'ghostnet-small[timm]'"
        ) from None


def create_teacher(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    pretrained: bool = False,
    upsample: int | None = None,
) -> TimmNetwork:
    """A network of ``TEACHERS``: fresh, or with timm's ``pretrained`` weights.

    These are fetched from the Hugging Face hub at first use. The classifier is fresh unless there
    are 1000 classes, and so is a stem that is fitted to pictures that are not upsampled, but for
    that of ``inception_v3``.

    Raises ``InputError`` where timm is missing, or the weights cannot be fetched.
    """
    check_timm(name)
    teacher = TEACHERS[name]
    upsample = teacher.upsample if upsample is None else upsample
    network = _from_timm(teacher, num_classes, in_channels, pretrained)
    if teacher.fit is not None and upsample is None:
        teacher.fit(network)
    config = {
        "architecture": name,
        "width": 1.0,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "upsample": upsample,
    }
    return TimmNetwork(network, upsample=upsample, config=config)


def _from_timm(teacher: Teacher, num_classes: int, in_channels: int, pretrained: bool) -> Any:
    import timm

    words: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels}
    if not pretrained:
        return timm.create_model(teacher.timm_name, pretrained=False, **words)
    try:
        with _quiet():
            return timm.create_model(teacher.timm_name, pretrained=True, **words)
    except Exception as error:  # the hub's client and timm raise many types
        reason = " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
        raise InputError(
            f"the pretrained weights {teacher.timm_name} cannot be fetched ({reason}); check the "
            "network (HF_HUB_OFFLINE must not forbid it), give a mirror with HF_ENDPOINT, copy "
            "the cache of a machine that has them (HF_HOME), or train with model.pretrained false"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' own log lines and warnings are held back: what fails is said in one line."""
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
