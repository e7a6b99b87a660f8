"""A recipe's network for its data."""

from __future__ import annotations

from ghostnet_small import fast
from ghostnet_small.data.dataset import ImageData
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network
from ghostnet_small.models.registry import create_model
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.initial_weights import Beginning


def network_of(
    recipe: Recipe, data: ImageData, *, fetch: bool, beginning: Beginning | None = None
) -> Network:
    """The recipe's network for ``data``, in training form.

    It starts from the weights of ``beginning``, or from pretrained ones where the recipe says so
    and ``fetch`` does: weights that a saved state will replace need not be fetched.

    Raises ``InputError`` where the recipe's network is not possible, its weights cannot be fetched,
    or the images are too small for it.
    """
    asked = recipe.model
    model = create_model(
        asked.name,
        width=asked.width,
        head=asked.head,
        num_classes=len(data.classes),
        in_channels=data.channels,
        pretrained=asked.pretrained if fetch else False,
        upsample=asked.upsample,
        interpolation=asked.interpolation,
        dropout=asked.dropout,
        drop_path=asked.drop_path,
    )
    if beginning is not None:
        beginning.fill(model, data.classes)
    if isinstance(model, GhostNetV3):
        fast.use(model, asked.rep_conv)
    model.check_size(*data.size)
    return model
