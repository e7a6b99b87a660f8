"""Packages that can be called: ``gns.train`` holds the engine's modules, and ``gns.train(...)``
trains."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package whose call is the verb of the same name in ``ghostnet_small.verbs.training``.

    Importing any module of the package binds its name in ``ghostnet_small`` to the package, so that
    a function of that name would be lost.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the verb; ``help(ghostnet_small.verbs.training)`` describes it."""
        return self._verb()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._verb())

    def _verb(self) -> Callable[..., Any]:
        package, _, name = self.__name__.rpartition(".")
        verb: Callable[..., Any] = getattr(
            importlib.import_module(f"{package}.verbs.training"), name
        )
        return verb


def make_callable(package: str) -> None:
    """Make the imported ``package`` a ``CallablePackage``."""
    sys.modules[package].__class__ = CallablePackage
