"""Fine-tuning: load the weights that a training starts from, and fit them to the data."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from ghostnet_small.data.fitting import same_classes
from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.hub.models import is_hub_name, read_hub_name
from ghostnet_small.hub.origin import origin_of
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.heads import head_entry, head_in
from ghostnet_small.models.network import Network, order_classes
from ghostnet_small.models.pretrained import pretrained_on
from ghostnet_small.models.settings import ModelSettings
from ghostnet_small.models.shipped_weights import find_weights
from ghostnet_small.models.teachers import teacher_of
from ghostnet_small.models.timm_network import TimmNetwork
from ghostnet_small.models.weights import load, weights_digest
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.tensorfile import tensors_digest

_log = logging.getLogger(__name__)  # what a user should know, though nothing is wrong


class Beginning:
    """Weights to start from. ``about`` is what a record says of them.

    Raises ``InputError`` where they cannot be read, are folded, or are of another network than
    ``asked``.
    """

    def __init__(self, asked: ModelSettings) -> None:
        assert asked.weights is not None
        path = expanded(asked.weights)
        # Found once: a model of the hub is asked for then.
        folder = find_weights(path)
        try:
            self.network, self.info = load(folder if folder.exists() else path)
        except InputError as error:
            raise InputError(f"model.weights {asked.weights}: {error}") from None
        _check(self.network, asked)
        config = self.network.config
        self.about: dict[str, Any] = {
            "name": asked.weights,
            "recipe": self.info.recipe.get("name", ""),
            "architecture": config["architecture"],
            "width": config.get("width"),
            **head_entry(head_in(config)),
            "weights_sha256": weights_digest(self.network),
            **origin_of(folder, read_hub_name(path) if is_hub_name(path) else None),
        }

    def fill(self, model: Network, classes: tuple[str, ...]) -> None:
        """Load the weights into ``model``, and record in ``about`` what was changed.

        The classifier of ``model`` stays as it is where the ``classes`` are not those of the
        weights; where only their order differs, its rows are reordered. Where the images have
        another number of channels, each channel of the first convolution is ``sum / channels`` of
        those it had: a grey image gives the same answers as before in colour, and a colour image
        those of its mean. Where ``model`` has fewer head features, it keeps the first ones.
        """
        state = self.network.state_dict()
        order = same_classes(classes, self.info.classes)
        classifier = set(_classifier(model))
        afresh = classifier if order is None else set()
        before, after = self.network.config["in_channels"], model.config["in_channels"]
        own = model.state_dict()
        for name, tensor in state.items():
            if name in afresh or tensor.shape == own[name].shape:
                continue
            if name.startswith("head.") or name in classifier:
                # Head features are outputs of the head and inputs of the classifier.
                state[name] = tensor[tuple(slice(size) for size in own[name].shape)]
            else:
                state[name] = _channels(tensor, after)
        model.load_state_dict({**state, **{name: own[name] for name in afresh}})
        if order is not None and order != sorted(order):
            order_classes(model, order)
            _log.warning(
                "the weights %s know the data's classes in another order; the classifier is put "
                "into that of the data",
                self.about["name"],
            )
        self.about["classifier"] = "afresh" if afresh else "kept"
        self.about["channels"] = before
        if afresh:
            _log.warning(
                "the weights %s know other classes than the data's; the classifier starts afresh",
                self.about["name"],
            )
        features = head_in(self.network.config)
        if (kept := head_in(model.config)) != features:
            _log.warning(
                "the weights %s have %d head features, and model.head is %d; the first %d are kept",
                *(self.about["name"], features, kept, kept),
            )
        if before != after:
            _log.warning(
                "the weights %s take images of %d channel(s), the data have %d; the first "
                "convolution is made to fit",
                *(self.about["name"], before, after),
            )


def about_pretrained(asked: ModelSettings, model: Network) -> dict[str, Any]:
    """Return what a record says of the pretrained weights that ``model`` has, as ``asked``.

    By their digest, a file of them and timm's own are the same.
    """
    own, fresh = model.state_dict(), _classifier(model)
    return {
        "name": asked.name,
        "pretrained_on": pretrained_on(teacher_of(asked.name)),
        "architecture": model.config["architecture"],
        "width": 1.0,
        "weights_sha256": tensors_digest({n: t for n, t in own.items() if n not in fresh}, {}),
    }


def _check(network: Network, asked: ModelSettings) -> None:
    what, config = f"model.weights {asked.weights}", network.config
    if isinstance(network, GhostNetV3) and is_folded(network):
        raise InputError(
            f"{what} are folded, and folded weights cannot be trained; give those that were folded"
        )
    if config["architecture"] != asked.name:
        raise InputError(
            f"{what} are of {config['architecture']}, and model.name is {asked.name}; give "
            f"--model.name {config['architecture']}, or other weights"
        )
    if config["width"] != asked.width:
        raise InputError(
            f"{what} are of width {config['width']}, and model.width is {asked.width}; give "
            f"--model.width {config['width']}, or other weights"
        )
    if head_in(config) < asked.head:
        raise InputError(
            f"{what} are of head {head_in(config)}, and model.head is {asked.head}; give "
            f"--model.head {head_in(config)} or fewer, or other weights"
        )
    if isinstance(network, TimmNetwork):
        wanted = teacher_of(asked.name).upsample if asked.upsample is None else asked.upsample
        if network.upsample != wanted:
            shown = "null" if network.upsample is None else network.upsample
            raise InputError(
                f"{what} were trained with model.upsample {shown}; give --model.upsample {shown}, "
                "or other weights"
            )


def _classifier(model: Network) -> list[str]:
    """The names of the last layer's tensors."""
    last = {id(tensor) for tensor in model.last_layer().parameters()}
    return [name for name, tensor in model.named_parameters() if id(tensor) in last]


def _channels(weight: Tensor, channels: int) -> Tensor:
    """The weight of a first convolution, ``(O, I, h, w) -> (O, channels, h, w)``."""
    return (weight.sum(1, keepdim=True) / channels).expand(-1, channels, -1, -1).clone()
