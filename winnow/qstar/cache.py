"""Keys and values of a fixed number of slots, each as full as its own sequence is long."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer


class SlotCache(Cache):
    """A cache with a row for each slot; what lies beyond a slot's length is never read.

    Nothing has to be removed when drafted tokens are rejected: the slot's length stays behind them,
    and they are written over.

    Args:
        slots: rows.
        capacity: tokens that a row can hold.
    """

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.slots, self.capacity = slots, capacity
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._rows = torch.empty(0)
        self._positions = torch.empty(0)
        self._span: int | None = None

    def aim(self, rows: Tensor, positions: Tensor, span: int | None) -> None:
        """Say where the next forward pass writes, and what it reads.

        Args:
            rows: slots, [rows] int64.
            positions: places in these slots, [rows, new] int64.
            span: read this many places of the leading slots; None reads nothing but what is new.
        """
        self._rows, self._positions, self._span = rows[:, None], positions, span

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new keys and values [rows, heads, new, dimension]; return what is to be read."""
        if layer_idx == len(self._layers):
            self._layers.append((self._empty(key_states), self._empty(value_states)))
        keys, values = self._layers[layer_idx]
        rows, positions = self._rows.to(keys.device), self._positions.to(keys.device)
        keys[rows, :, positions] = key_states.transpose(1, 2)
        values[rows, :, positions] = value_states.transpose(1, 2)
        if self._span is None:
            return key_states, value_states
        return keys[: len(rows), :, : self._span], values[: len(rows), :, : self._span]

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        """Let one slot begin as another does."""
        for tensors in self._layers:
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]

    @torch.inference_mode()
    def wipe(self, slot: int, length: int) -> None:
        """Write zeros beyond a length.

        A NaN would reach whoever reads there next, even through a mask (0 · NaN).
        """
        for tensors in self._layers:
            for tensor in tensors:
                tensor[slot, :, length:].zero_()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """0: the length is each slot's own, and positions and masks are always given."""
        return 0

    def _empty(self, like: Tensor) -> Tensor:
        # Zeros rather than whatever lies in memory, for the reason that `wipe` gives.
        _, heads, _, dimension = like.shape
        return torch.zeros(self.slots, heads, self.capacity, dimension, dtype=like.dtype, device=like.device)
