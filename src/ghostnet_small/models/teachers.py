"""The networks of timm that are known by name, and the adaptations of some to tiny images.

They are built for 224 pixels and more, which stem and pools reduce to a 32nd. Tiny images would
end as a single position, so the stem is adapted where an adaptation is known; otherwise the images
are upsampled inside the network, which stays as published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ghostnet_small.errors import InputError, nearest

PREFIX = "timm/"
USUAL_UPSAMPLE = 224


class TimmTeacher(NamedTuple):
    """A network of timm.

    It has timm's name, with the tag of the ``pretrained`` weights; the function that adapts the
    network to tiny images, or ``None``; the default side in pixels that they are upsampled to; and
    whether the network is built for a single side, as transformers are.
    """

    timm_name: str
    fit: Callable[[Any], None] | None
    upsample: int | None = None
    one_size: bool = False

    @property
    def base_name(self) -> str:
        """Return timm's name of the network, without a tag."""
        return self.timm_name.partition(".")[0]


def _fit_resnet(network: Any) -> None:
    """Set a 3x3 stem of stride 1, and no pool: 32x32 ends as 4x4.

    Source: arXiv:1512.03385, section 4.2 (the stem on CIFAR-10).
    """
    network.conv1 = _small_stem(network.conv1)
    network.maxpool = nn.Identity()


def _fit_densenet(network: Any) -> None:
    """Set a 3x3 stem of stride 1, and no pool: 32x32 ends as 4x4.

    Source: arXiv:1608.06993, section 4.2 (the stem on CIFAR).
    """
    network.features.conv0 = _small_stem(network.features.conv0)
    network.features.pool0 = nn.Identity()


def _fit_vgg(network: Any) -> None:
    """Set a global average pool and one linear layer: five pools reduce 32x32 to 1x1.

    Differs from the paper (arXiv:1409.1556): its head of two layers of 4096 reads 7x7 positions, of
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
    """Set a padded stem of stride 1 without pools: 32x32 ends as 7x7. Its kernels stay."""
    for part in (network.Conv2d_1a_3x3, network.Conv2d_2a_3x3, network.Conv2d_4a_3x3):
        part.conv.stride, part.conv.padding = (1, 1), (1, 1)
    network.Pool1, network.Pool2 = nn.Identity(), nn.Identity()


def _small_stem(published: nn.Conv2d) -> nn.Conv2d:
    """Return a fresh 3x3 convolution of stride 1 to replace a stem of 7x7."""
    stem = nn.Conv2d(published.in_channels, published.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem


# Tags are explicit: timm's default weights of a name change between its versions.
TEACHERS = {
    "resnet18": TimmTeacher("resnet18.a1_in1k", _fit_resnet),
    "resnet34": TimmTeacher("resnet34.a1_in1k", _fit_resnet),
    "resnet50": TimmTeacher("resnet50.a1_in1k", _fit_resnet),
    "vgg13_bn": TimmTeacher("vgg13_bn.tv_in1k", _fit_vgg),
    "densenet121": TimmTeacher("densenet121.ra_in1k", _fit_densenet),
    "densenet161": TimmTeacher("densenet161.tv_in1k", _fit_densenet),
    "inception_v3": TimmTeacher("inception_v3.tv_in1k", _fit_inception),
    "efficientnetv2_s": TimmTeacher("tf_efficientnetv2_s.in21k_ft_in1k", None, USUAL_UPSAMPLE),
}


def is_timm(name: str) -> bool:
    """Return whether timm builds the network ``name``: a known one, or one to look up."""
    return name in TEACHERS or name.startswith(PREFIX)


def teacher_of(name: str) -> TimmTeacher:
    """Return the ``TimmTeacher`` of one of ``TEACHERS``, or of ``timm/NAME[.TAG]``.

    Raises ``InputError`` where timm is missing, or has no such network or tag.
    """
    check_timm(name)
    if name in TEACHERS:
        return TEACHERS[name]
    import timm

    timm_name = name.removeprefix(PREFIX)
    base = timm_name.partition(".")[0]
    if not timm.is_model(base):
        raise InputError(f"model {name!r:.80} is not known to timm; {_nearest(base)}")
    try:
        known = timm.get_pretrained_cfg(timm_name, allow_unregistered=False)
    except RuntimeError:
        tags = sorted(timm.list_pretrained(f"{base}.*"))
        are = f"its weights are {', '.join(tags)}" if tags else f"give {PREFIX}{base}"
        raise InputError(f"timm has no weights {timm_name!r:.80}; {are}") from None
    fit = next((t.fit for t in TEACHERS.values() if t.base_name == base), None)
    # A network without timm's description has no weights either.
    one_size = known is not None and bool(known.fixed_input_size)
    upsample = None
    if fit is None:
        upsample = known.input_size[-1] if known is not None and one_size else USUAL_UPSAMPLE
    return TimmTeacher(timm_name, fit, upsample, one_size)


def _nearest(base: str) -> str:
    import timm

    return nearest(PREFIX + base, (PREFIX + name for name in timm.list_models()), count=3)


def check_timm(name: str) -> None:
    """Raise ``InputError`` with the cure where timm, which builds ``name``, is missing."""
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"model {name} needs timm ({error}); install it by: pip install 'ghostnet-small[timm]'"
        ) from None
