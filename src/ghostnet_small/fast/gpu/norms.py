"""Summed batch norms: the branches of a layer, and the tensors that all layers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ghostnet_small.fast.gpu import norm_kernels, slope_kernels
from ghostnet_small.fast.gpu.maps import Map, grid, tile
from ghostnet_small.fast.gpu.packed import Packed
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d

# Programs that sum a map's rows: enough to fill a GPU, and few enough for one sum.
SUMMING = 128
_ADDING = {"LANES": SUMMING, "COLUMNS": 8}


class Branches(NamedTuple):
    """The summed branches: convolutions of full size, then one of a single tap, then the input."""

    full: tuple[ConvBN, ...]
    scale: ConvBN | None
    skip: nn.BatchNorm2d | None

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """Return the batch norms of all branches."""
        more = [] if self.scale is None else [self.scale.bn]
        return [part.bn for part in self.full] + more + ([] if self.skip is None else [self.skip])


def branches_of(part: RepConv2d | ConvBN) -> Branches:
    """Return the branches of a layer."""
    if isinstance(part, ConvBN):
        return Branches((part,), None, None)
    full = tuple(branch for branch in part.branches if isinstance(branch, ConvBN))
    return Branches(full, part.scale, part.skip)


@dataclass
class Step:
    """The tensors that all layers share in one pass.

    They are the packed parameters, their copy in the precision of the products, the running
    statistics, and the gradients to fill.
    """

    parameters: Tensor
    low: Tensor
    running: Tensor
    training: bool
    gradients: Tensor | None = None


def counted(tensor: Tensor | None) -> Tensor:
    """Return a statistic that a batch norm keeps, which is not ``None``."""
    assert tensor is not None
    return tensor


class Norms:
    """Batch norms whose outputs are summed, and the ReLU of the sum."""

    def __init__(self, branches: Branches, relu: bool, packed: Packed, running: Packed) -> None:
        norms = branches.norms
        self.full, self.relu = len(branches.full), relu
        self.scale, self.skip = int(branches.scale is not None), int(branches.skip is not None)
        self.has_x = int(self.scale or self.skip)
        self.channels, self.number = norms[0].num_features, len(norms)
        self.epsilon, self.momentum = norms[0].eps, norms[0].momentum
        self.weights = packed.add([norm.weight for norm in norms])
        self.biases = packed.add([norm.bias for norm in norms])
        self.factor = packed.add([] if branches.scale is None else [branches.scale.conv.weight])
        self.means = running.add([counted(norm.running_mean) for norm in norms])
        self.variances = running.add([counted(norm.running_var) for norm in norms])
        self.kinds = {
            "FULL": self.full,
            "SCALE": self.scale,
            "SKIP": self.skip,
            "HAS_X": self.has_x,
        }

    def forward(
        self,
        step: Step,
        y: Map,
        x: Map,
        *,
        out: Map | None = None,
        more: Map | None = None,
        sum: Map | None = None,
    ) -> Tensor:
        """Fill ``out``, and ``sum`` with ``out`` plus ``more``; return what ``backward`` needs."""
        rows, channels = len(y.base), self.channels
        real = step.parameters.dtype
        sums, programs = step.parameters, 0
        if step.training:
            columns = (self.full + self.has_x) * channels
            launched = grid(rows, columns, SUMMING)
            programs = launched[0] // grid(1, columns)[0]
            sums = sums.new_empty(programs, 2, columns)
            norm_kernels.column_sums[launched](
                y.base,
                x.base,
                sums,
                rows,
                self.full * channels // 2,
                self.has_x * channels // 2,
                *y.at,
                *x.at,
                HAS_X=self.has_x,
                **tile(columns),
            )
        scales = torch.empty(self.full + 1, channels, dtype=real, device=sums.device)
        shift = scales.new_empty(channels)
        kept = scales.new_empty(2 * self.number + 2, channels)
        norm_kernels.normalisers[(-(-channels // _ADDING["COLUMNS"]),)](
            sums,
            step.parameters[self.weights],
            step.parameters[self.biases],
            step.parameters[self.factor],
            step.running[self.means],
            step.running[self.variances],
            scales,
            shift,
            kept,
            programs,
            channels,
            rows,
            self.epsilon,
            self.momentum,
            TRAINING=int(step.training),
            **self.kinds,
            **_ADDING,
        )
        first = out or sum
        assert first is not None
        norm_kernels.combine[grid(rows, channels)](
            y.base,
            x.base,
            scales,
            shift,
            (out or first).base,
            (more or first).base,
            (sum or first).base,
            rows,
            channels // 2,
            *y.at,
            *x.at,
            *(out or first).at,
            *(more or first).at,
            *(sum or first).at,
            FULL=self.full,
            HAS_X=self.has_x,
            RELU=int(self.relu),
            HAS_OUT=int(out is not None),
            HAS_SUM=int(sum is not None),
            **tile(channels),
        )
        return kept

    def backward(
        self,
        step: Step,
        kept: Tensor,
        grad: Map,
        out: Map | None,
        y: Map,
        x: Map,
        *,
        dy: Map,
        dx: Map | None = None,
        more: Map | None = None,
    ) -> None:
        """Fill ``dy``, and ``dx`` with the gradient of ``x`` through the norms plus ``more``."""
        assert step.gradients is not None
        rows, channels = len(y.base), self.channels
        parts = 1 + self.full + self.has_x
        launched = grid(rows, channels, SUMMING)
        programs = launched[0] // grid(1, channels)[0]
        sums = kept.new_empty(programs, parts, channels)
        places = (*grad.at, *(out or grad).at, *y.at, *x.at)
        kinds = {"FULL": self.full, "HAS_X": self.has_x, "RELU": int(self.relu)}
        slope_kernels.slope_sums[launched](
            grad.base,
            (out or grad).base,
            y.base,
            x.base,
            sums,
            rows,
            channels // 2,
            *places,
            **kinds,
            **tile(channels),
        )
        lines = kept.new_empty(3, self.full + 1, channels)
        slope_kernels.slope_normalisers[(-(-channels // _ADDING["COLUMNS"]),)](
            sums,
            step.parameters[self.weights],
            step.parameters[self.factor],
            kept,
            step.gradients[self.weights],
            step.gradients[self.biases],
            step.gradients[self.factor],
            lines,
            programs,
            channels,
            rows,
            **self.kinds,
            **_ADDING,
        )
        slope_kernels.slopes[grid(rows, channels)](
            grad.base,
            (out or grad).base,
            y.base,
            x.base,
            lines,
            dy.base,
            (dx or dy).base,
            (more or grad).base,
            rows,
            channels // 2,
            *places,
            *dy.at,
            *(dx or dy).at,
            *(more or grad).at,
            HAS_MORE=int(more is not None),
            **kinds,
            **tile(channels),
        )
