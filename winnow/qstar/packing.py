"""Weights in the order in which oneDNN reads them, for decoding on a CPU.

A decoding step multiplies few rows by large matrices. torch hands these products to a library that lays the
matrix out anew each time; oneDNN can do so once. The products are the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ROWS = 16
"""For how many rows the order is chosen; it serves any number."""
SMALLEST = 1 << 16
"""Entries of a matrix below which it lies in the cache, and nothing is gained."""


class PackedLinear(nn.Module):
    """A linear layer for inference whose weight only oneDNN reads.

    Args:
        layer: the layer to stand in for; its weight is copied.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)

    @property
    def weight(self) -> Tensor:
        """The weight as it was, [out, in]: a copy, for models that look at it."""
        return self._packed.to_dense()  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """x · weightᵀ + bias, [..., out]."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return found


def pack(model: nn.Module) -> None:
    """Replace the large linear layers of a model that lies on the CPU, in place, one after the other.

    Layers of a class of their own, float64, and what this CPU's oneDNN does not serve stay as they are.
    """
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and _serves(layer.weight):
                setattr(parent, name, PackedLinear(layer))


def _serves(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or weight.numel() < SMALLEST or not torch.backends.mkldnn.is_available():
        return False
    ops: Any = torch.ops.mkldnn
    if weight.dtype == torch.bfloat16:
        return bool(ops._is_mkldnn_bf16_supported())
    if weight.dtype == torch.float16:
        return bool(ops._is_mkldnn_fp16_supported())
    return weight.dtype == torch.float32
