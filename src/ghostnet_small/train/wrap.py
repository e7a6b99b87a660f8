"""A network as accelerate calls it in training."""

from __future__ import annotations

import warnings

from accelerate import Accelerator
from torch import Tensor, nn


def wrap(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Return the module to call in place of ``model`` in training, with the same parameters.

    It computes in the chosen precision, and its gradients are those of all processes.
    """
    with warnings.catch_warnings():
        # Accelerate has no replacement for it yet.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        wrapped: nn.Module = accelerator.prepare_model(Trained(model))
        return wrapped


class Trained(nn.Module):
    """A wrapper that accelerate may wrap and patch, so that the model in it is unchanged."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out
