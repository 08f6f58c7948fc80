"""exp by way of exp2, for float32 on CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG2_E = math.log2(math.e)


def exp(x: Tensor, out: Tensor | None = None) -> Tensor:
    """e to the power x; in `out`, which may be x, where it is given.

    torch leaves exp to MKL, which takes 0.6 ns for a float32 where the processor is not Intel's;
    exp2 it computes itself, in 0.13 ns. log2 e and the product with it are rounded, which changes the
    result by up to 1.25 |x| · 2^−24 of itself: little more than the rounding of x did. In float64 a
    token's last digit must not depend on where its row lies, as that of exp2 does.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return torch.exp(x, out=out)
    return torch.mul(x, LOG2_E, out=out).exp2_()
