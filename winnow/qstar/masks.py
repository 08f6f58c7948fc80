"""Which places of its slot a token sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CROPPABLE = {"full_attention", "sliding_attention"}
"""Kinds of layers whose past is cut back by forgetting its last places."""


class Masks:
    """Masks as a model wants them: one, or one for each kind of its layers.

    Args:
        config: the text model's configuration.
        dtype: the model's; the masks are added to its attention scores.
        always: whether it needs a mask where causal order is all there is to tell.
    """

    def __init__(self, config: Any, dtype: torch.dtype, always: bool = False) -> None:
        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None)
        self._dtype, self._always = dtype, always
        self._window = int(window) if window and (not kinds or "sliding_attention" in kinds) else None
        self._by_kind = self._window is not None and bool(kinds)
        self._every_layer_slides = self._window is not None and not kinds

    def past(self, positions: Tensor, span: int) -> Any:
        """For new tokens at `positions` [rows, new] of slots that are read up to `span`."""
        places = torch.arange(span, device=positions.device)
        return self._of_both(positions[:, None, :, None], places)

    def prompt(self, length: int, device: torch.device) -> Any:
        """For prompts that are read from their first token; None is causal."""
        places = torch.arange(length, device=device)
        if not self._always and (self._window is None or length <= self._window):
            return dict.fromkeys(CROPPABLE) if self._by_kind else None
        return self._of_both(places[None, None, :, None], places)

    def _of_both(self, query: Tensor, places: Tensor) -> Any:
        seen = places <= query
        full = None if self._every_layer_slides else self._added(seen)
        if self._window is None:
            return full
        sliding = self._added(seen & (places > query - self._window))
        return {"full_attention": full, "sliding_attention": sliding} if self._by_kind else sliding

    def _added(self, seen: Tensor) -> Tensor:
        return torch.zeros(seen.shape, dtype=self._dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
