"""A decoder: one model with its own cache, lengths and positions, for a batch of rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from winnow.qstar.models import LoadedModel


class Decoder:
    """Next-token logits for a batch of rows that share nothing but their width.

    Student and teacher have a decoder each, because their prompts differ in length; only the new
    token ids are common to both.

    Args:
        loaded: the model.
        width: leading columns of the logits to keep (see `vocabulary.common_width`).
    """

    def __init__(self, loaded: LoadedModel, width: int) -> None:
        self._model: Any = loaded.model
        self._pad = loaded.pad_id
        self._width = width
        self._device = loaded.model.device
        self._last_position = loaded.context - 1
        self._cache: Any = None
        self._mask: Tensor | None = None

    @torch.inference_mode()
    def prefill(self, prompts: list[list[int]], rows: Tensor) -> Tensor:
        """Read the prompts and return the logits of the first new token, [rows, width].

        Args:
            prompts: the distinct prompts' token ids; each is read once.
            rows: for each row of the batch, the index of its prompt, [rows] int64.
        """
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self._pad, dtype=torch.int64)
        mask = torch.zeros((len(prompts), longest), dtype=torch.int64)
        for index, prompt in enumerate(prompts):
            # Padding on the left puts every row's last token in the last column.
            ids[index, longest - len(prompt) :] = torch.tensor(prompt)
            mask[index, longest - len(prompt) :] = 1
        self._cache = DynamicCache(config=self._model.config)
        self._mask = mask.to(self._device)
        logits = self._forward(ids.to(self._device))
        self.keep(rows)
        return logits[rows]

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Append one token [rows] to each row and return the logits of the next, [rows, width]."""
        assert self._mask is not None, "prefill comes first"
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        return self._forward(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only, in this order; a row may be repeated."""
        assert self._mask is not None, "prefill comes first"
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]

    def _forward(self, ids: Tensor) -> Tensor:
        assert self._mask is not None
        # A row that is done may be carried on beside the others: never past the last position.
        positions = (self._mask.cumsum(dim=1) - 1).clamp(0, self._last_position)[:, -ids.shape[1] :]
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1, : self._width]  # type: ignore[no-any-return]
