"""Memory that is written anew in every round and every chunk."""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class Buffers(threading.local):
    """Large tensors by name, made once and used again; each thread has its own.

    On CPU torch gives large tensors back to the system, and to be given 4 KiB anew costs 1 to 2 µs:
    more than what is written there.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Room of a tensor's shape, on its device; what was taken by this name before is overwritten."""
        size, flat = math.prod(like.shape), self._flat.get(name)
        if flat is None or flat.numel() < size or (flat.dtype, flat.device) != (dtype, like.device):
            with torch.inference_mode(False):
                # Else only inference could write to it.
                flat = self._flat[name] = torch.empty(size, dtype=dtype, device=like.device)
        return flat[:size].view(like.shape)
