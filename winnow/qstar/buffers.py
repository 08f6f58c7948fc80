"""Memory that is written anew in every round and every chunk."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class Buffers(threading.local):
    """Large tensors by name, made once and used again; each thread has its own.

    On CPU torch gives large tensors back to the system, and to be given 4 KiB anew costs 1 to 2 µs:
    more than what is written there. On other devices its allocator keeps them.
    """

    def __init__(self) -> None:
        self._whole: dict[str, Tensor] = {}
        self._taken: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Room of a tensor's shape, on its device; what was taken by this name before is overwritten."""
        if like.device.type != "cpu":
            return torch.empty_like(like, dtype=dtype)
        taken = self._taken.get(name)
        if taken is None or taken.shape != like.shape or taken.dtype != dtype:
            whole, size = self._whole.get(name), like.numel()
            # Else only inference could write to it.
            with torch.inference_mode(False):
                if whole is None or whole.numel() < size or whole.dtype != dtype:
                    whole = self._whole[name] = torch.empty(size, dtype=dtype)
                taken = self._taken[name] = whole[:size].view(like.shape)
        return taken
