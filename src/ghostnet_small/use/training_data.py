"""The data that weights were trained on, or others in their place, as the weights take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ghostnet_small.data.dataset import Fit, ImageData, size_text
from ghostnet_small.data.fitting import COLOURS
from ghostnet_small.data.settings import DataSettings
from ghostnet_small.data.sources import OneSplit, load_data, load_split
from ghostnet_small.errors import InputError
from ghostnet_small.models.fit_weights import run_of_fit
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.recipe.paths import placed, read_places, with_run_data
from ghostnet_small.recipe.recipe import Recipe, keys_of, resolve_recipe

# Settings that choose the data; all others but the cache's say how they are split or shaped.
_WHICH = ("data.root", "data.source", "data.subset", "data.revision")
_HOW_READ = ("data.cache", "data.memory_gib", "data.on_error")


class TrainedOn:
    """The data of the recipe that ``path`` was trained by, with ``overrides``.

    Images come in the size and channels that the network takes, labels are its numbers of the
    classes. ``say`` is told what was changed for that, and where the data are not those of the
    training.

    With ``any_size``, a size that ``overrides`` ask for is kept.
    """

    def __init__(
        self,
        info: ModelInfo,
        path: Path,
        overrides: Sequence[str] = (),
        *,
        any_size: bool = False,
        say: Callable[[str], None],
    ) -> None:
        self.info, self.path, self.overrides, self.say = info, path, overrides, say
        self.any_size = any_size
        self.recipe = recipe_of(info, path, overrides)
        self.given = keys_of(overrides)

    def split(self, name: str) -> OneSplit:
        """Return one split; raises ``InputError`` as ``load_split`` does."""
        data = load_split(self._settings, name, self._fit)
        self._tell({name: data.fingerprint}, data, name if data.held_out else None)
        return data

    def whole(self) -> ImageData:
        """Return all splits; raises ``InputError`` as ``load_data`` does."""
        data = load_data(self._settings, self._fit)
        self._tell(data.fingerprints, data, None)
        return data

    @cached_property
    def _settings(self) -> DataSettings:
        """The settings of the data, with the paths that lead there from here."""
        settings = self.recipe.data
        size, channels = self.info.size, len(self.info.mean)
        if channels not in COLOURS:
            raise InputError(
                f"{self.path} takes images of {channels} channels, and files hold 1 (grey) or 3; "
                "give weights that were trained on those"
            )
        square = size[0] if size[0] == size[1] else None
        wrong = {}
        if not (settings.size in (None, square) or self.any_size):
            wrong["size"] = settings.size
        if settings.channels not in (None, channels):
            wrong["channels"] = settings.channels
        for name, value in wrong.items():
            raise InputError(
                f"data.{name} {value} is not what {self.path} takes, {size_text(size)} in "
                f"{channels} channels; leave it out"
            )
        recipe, places = self.recipe, read_places(run_of_fit(self.path))
        if self.path.is_file() and self.given.isdisjoint(("data.root", "data.source")):
            recipe = with_run_data(recipe, self.path)
        return placed(recipe, places, overrides=self.overrides, say=self.say).data

    @cached_property
    def _fit(self) -> Fit:
        info, asked = self.info, self.recipe.data.size
        size = info.size if asked is None or not self.any_size else (asked, asked)
        other_data = not self.given.isdisjoint(_WHICH)
        return Fit(str(self.path), size, len(info.mean), info.classes, other_data)

    def _tell(
        self, found: Mapping[str, str], data: OneSplit | ImageData, held_out: str | None
    ) -> None:
        """Say what was left out, what was changed, and where the data are not the training's."""
        say, trained = self.say, self.info.fingerprints
        if data.left_out is not None:
            say(data.left_out)
        same = {name: trained[name] == now for name, now in found.items() if name in trained}
        # The training has shown the network the same images, changed in the same way.
        if not (same and all(same.values())):
            for remark in data.changed:
                say(remark)
        if self._fit.size != self.info.size:
            say(
                f"the images are {size_text(self._fit.size)}, as --data.size asks; the model was "
                f"trained on {size_text(self.info.size)}"
            )
        cut = {key for key in self.given if key.startswith("data.")} - {*_WHICH, *_HOW_READ}
        for name in (name for name, is_same in same.items() if not is_same):
            prints = f"its fingerprint is {found[name][:12]}, and was {trained[name][:12]}"
            if name == held_out:
                say(
                    f"the validation split is not the one that was held out in training "
                    f"({prints}): it may hold images that the network was trained on"
                )
            elif not self._fit.other_data and not cut:
                say(
                    f"the {name} split is not that of the training ({prints}): images were added, "
                    "removed or changed since, or it is another set; name another with --data.root"
                )


def recipe_of(info: ModelInfo, path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of trained weights with ``overrides``, to be used on this machine.

    Its device, threads, cache and memory are this machine's unless overridden: weights trained
    on a GPU are evaluated anywhere.
    """
    written = resolve_recipe(info.recipe, where=f"the recipe of {path}")
    train = replace(written.train, device="auto", threads=None)
    data = replace(written.data, mean=None, std=None, cache=None, memory_gib=None)
    here = replace(written, data=data, train=train)
    return resolve_recipe(here.as_dict(), overrides)
