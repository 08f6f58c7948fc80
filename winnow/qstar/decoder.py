"""A decoder: one model and its cache of slots, each with a sequence of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from winnow.qstar.cache import SlotCache
from winnow.qstar.masks import Masks
from winnow.qstar.models import LoadedModel

PREFILL_TOKENS = 8192
"""Prompts are read together up to so many tokens, padding included; it bounds the activations."""

Prompt = tuple[int, ...]


class Decoder:
    """Next-token logits for sequences that share nothing but the model.

    Student and teacher have a decoder each, because their prompts differ; only the new token ids
    are common to both. A slot holds every token of its sequence but the last one, which the next
    forward pass reads.

    Args:
        loaded: the model.
        width: leading columns of the logits to keep (see `vocabulary.common_width`).
        slots: sequences that are decoded together, at most.
        capacity: the longest sequence, in tokens, drafted ones included.
    """

    crops = True

    def __init__(self, loaded: LoadedModel, width: int, slots: int, capacity: int) -> None:
        self.device = loaded.device
        self.lengths = [0] * slots
        self._model: Any = loaded.model
        self._pad = loaded.pad_id
        self._width = width
        self._last_position = loaded.context - 1
        self._cache = SlotCache(slots, capacity)
        eager = loaded.model.config._attn_implementation == "eager"
        self._masks = Masks(loaded.text_config, loaded.model.dtype, always=eager)
        self._held: list[Prompt | None] = [None] * slots

    @torch.inference_mode()
    def admit(self, entries: Sequence[tuple[int, Prompt]]) -> None:
        """Put sequences into slots: (slot, prompt). A prompt that any slot holds is not read again."""
        reading: dict[Prompt, int] = {}
        copies: list[tuple[int, int]] = []
        targets = dict(entries)
        held = {
            prompt: slot
            for slot, prompt in enumerate(self._held)
            if prompt is not None and targets.get(slot, prompt) == prompt
        }
        for slot, prompt in entries:
            self.lengths[slot] = len(prompt) - 1
            if prompt not in held:
                # Whoever comes later in this batch takes it from here.
                reading[prompt] = held[prompt] = slot
            elif self._held[slot] != prompt:
                copies.append((held[prompt], slot))
            self._held[slot] = prompt
        for chunk in _chunks([prompt for prompt in reading if len(prompt) > 1]):
            self._read([(reading[prompt], prompt[:-1]) for prompt in chunk])
        for source, target in copies:
            self._cache.copy(source, target, self.lengths[target])

    @torch.inference_mode()
    def forward(self, tokens: Tensor, ahead: int = 0) -> Tensor:
        """Read new tokens of the leading slots; logits after each, [rows, new, width].

        Args:
            tokens: [rows, new] int64.
            ahead: how many tokens beyond its length each slot has read already in this round.

        The slots' lengths stay as they are: see `advance`.
        """
        rows, new = tokens.shape
        lengths = self.lengths[:rows]
        first = torch.tensor(lengths, device=self.device)[:, None] + ahead
        positions = first + torch.arange(new, device=self.device)
        span = max(lengths) + ahead + new
        self._cache.aim(torch.arange(rows, device=self.device), positions, span)
        return self._logits(tokens.to(self.device), positions, self._masks.past(positions, span))

    def advance(self, counts: Sequence[int]) -> None:
        """Keep so many of the tokens that were read last, for each of the leading slots."""
        for slot, count in enumerate(counts):
            self.lengths[slot] += count

    def move(self, source: int, target: int) -> None:
        """Continue a slot's sequence in another slot."""
        self._cache.copy(source, target, self.lengths[source])
        self.lengths[target], self._held[target] = self.lengths[source], self._held[source]

    def clear(self, slot: int) -> None:
        """Forget what a slot holds, to the last bit."""
        self._cache.clear(slot)
        self._held[slot] = None

    def _read(self, entries: list[tuple[int, Prompt]]) -> None:
        longest = max(len(prompt) for _, prompt in entries)
        ids = torch.full((len(entries), longest), self._pad, dtype=torch.int64)
        for index, (_, prompt) in enumerate(entries):
            # Padding on the right is read by nobody: it lies beyond the length of its slot.
            ids[index, : len(prompt)] = torch.tensor(prompt)
        places = torch.arange(longest, device=self.device).expand(len(entries), -1)
        slots = torch.tensor([slot for slot, _ in entries], device=self.device)
        self._cache.aim(slots, places, None)
        self._logits(ids.to(self.device), places, self._masks.prompt(longest, self.device), keep=1)

    def _logits(self, ids: Tensor, positions: Tensor, mask: Any, keep: int = 0) -> Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            # Drafts may run past the end of the context; what comes of them is cut.
            position_ids=positions.clamp(max=self._last_position),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        return output.logits[..., : self._width]  # type: ignore[no-any-return]


def _chunks(prompts: list[Prompt]) -> list[list[Prompt]]:
    """Prompts of like lengths together, so that little is padding."""
    chunks: list[list[Prompt]] = []
    for prompt in sorted(prompts, key=len, reverse=True):
        # The first is the longest of its chunk, and sets its width.
        if chunks and (len(chunks[-1]) + 1) * len(chunks[-1][0]) <= PREFILL_TOKENS:
            chunks[-1].append(prompt)
        else:
            chunks.append([prompt])
    return chunks
