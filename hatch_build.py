"""A word of warning where a wheel is built without what its demo runs networks with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = "src/ghostnet_small/demo/assets"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Warns, and does not refuse: all but the demo works without its assets."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a build; an editable one uses the checkout's own files, whenever they come."""
        if version != "editable" and not any(Path(self.root, ASSETS).glob("*.wasm")):
            self.app.display_warning(
                "this build is without the assets of `ghostnet-small demo`; for them, run: "
                "make demo-assets"
            )
