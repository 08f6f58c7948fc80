"""Numbers from the host to a device without waiting for what the device is doing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(values: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Integers as an int64 tensor [rows, columns] on a device.

    To a GPU they go from pinned memory: a copy from ordinary memory would wait for all that the GPU
    has still to do, several times a round.
    """
    tensor = torch.tensor(values, dtype=torch.int64)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def copy_into(buffer: Tensor, values: Sequence[Sequence[int]]) -> None:
    """Write integers [rows, columns] over a tensor, which stays where it is; see `to_device`."""
    buffer.copy_(to_device(values, buffer.device))
