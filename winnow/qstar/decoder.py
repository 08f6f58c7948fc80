"""A decoder: one model and its cache of slots, each with a sequence of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from winnow.qstar.cache import SlotCache
from winnow.qstar.masks import Masks
from winnow.qstar.models import LoadedModel
from winnow.qstar.transfer import copy_into

PREFILL_TOKENS = 8192
"""Prompts are read together up to so many tokens, padding included; it bounds the activations."""

Prompt = tuple[int, ...]
Images = tuple[Path, ...]


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
        self._vision = loaded.vision
        self._takes = frozenset(inspect.signature(loaded.model.forward).parameters)
        # Positions in an image model may lag behind the places in the cache: an image's patches share some.
        self._offsets = [0] * slots
        self._held: list[tuple[Prompt, Images] | None] = [None] * slots
        # What `forward` reads of lengths and offsets: it lies on the device, and always in one place, so
        # that a recorded pass finds it again.
        self._placed = torch.zeros(slots, 2, dtype=torch.int64, device=self.device)
        self._span = 0
        self._stale = True

    @torch.inference_mode()
    def admit(
        self, entries: Sequence[tuple[int, Prompt]], images: Mapping[int, Images] | None = None
    ) -> None:
        """Put sequences into slots: (slot, prompt). A prompt that any slot holds is not read again.

        Args:
            entries: slots and token ids of their prompts.
            images: for slots whose prompt has any, the files.
        """
        self._stale = True
        shown = {slot: (prompt, (images or {}).get(slot, ())) for slot, prompt in entries}
        held = {
            key: slot
            for slot, key in enumerate(self._held)
            if key is not None and shown.get(slot, key) == key
        }
        reading: dict[tuple[Prompt, Images], int] = {}
        copies: list[tuple[int, int]] = []
        for slot, key in shown.items():
            self.lengths[slot] = len(key[0]) - 1
            if key not in held:
                # Whoever comes later in this batch takes it from here.
                reading[key] = held[key] = slot
            elif self._held[slot] != key:
                copies.append((held[key], slot))
            self._held[slot] = key
        self._read_all(reading)
        for source, target in copies:
            self._cache.copy(source, target, self.lengths[target])
            self._offsets[target] = self._offsets[source]

    @torch.inference_mode()
    def place(
        self, rows: int, new: int, going: int | None = None, rounded: Callable[[int], int] | None = None
    ) -> int:
        """Tell the device where the leading slots stand, before they are read in a round.

        Args:
            rows: leading slots that will be read.
            new: tokens that each of them will read until `advance`.
            going: so many of them hold sequences that go on; what the others held is lost, for they only
                fill up the shape. None is all.
            rounded: to what a span is rounded up, so that fewer shapes are seen; None is not at all.

        Returns:
            The span: places of each slot that a pass reads, masked or not.

        Raises:
            IndexError: a sequence would outgrow its slot.
        """
        going = rows if going is None else going
        span = max(self.lengths[:going]) + new
        if span > self._cache.capacity:
            raise IndexError(f"{span} tokens in a slot for {self._cache.capacity}")
        self._span = min(rounded(span), self._cache.capacity) if rounded else span
        fill = [(self._span - new, 0)] * (rows - going)
        self._held[going:rows] = [None] * (rows - going)
        copy_into(self._placed[:rows], [*zip(self.lengths[:going], self._offsets, strict=False), *fill])
        self._stale = False
        return self._span

    @torch.inference_mode()
    def forward(self, tokens: Tensor, ahead: int = 0) -> Tensor:
        """Read new tokens of the leading slots, which were placed; logits after each, [rows, new, width].

        Args:
            tokens: [rows, new] int64.
            ahead: how many tokens beyond its length each slot has read already in this round.

        The slots' lengths stay as they are: see `advance`.

        Raises:
            RuntimeError: the slots have changed since they were placed.
        """
        if self._stale:
            raise RuntimeError("the slots have changed: `place` them before `forward`")
        rows, new = tokens.shape
        lengths, offsets = self._placed[:rows].unbind(dim=1)
        places = lengths[:, None] + ahead + torch.arange(new, device=self.device)
        self._cache.aim(torch.arange(rows, device=self.device), places, self._span)
        mask = self._masks.past(places, self._span)
        positions = places if self._vision is None else places + offsets[:, None]
        return self._logits(tokens.to(self.device), positions, mask)

    def advance(self, counts: Sequence[int]) -> None:
        """Keep so many of the tokens that were read last, for each of the leading slots."""
        self._stale = True
        for slot, count in enumerate(counts):
            self.lengths[slot] += count

    def move(self, source: int, target: int, beyond: int = 0) -> None:
        """Continue a slot's sequence in another slot, with so many of the tokens beyond it that were read."""
        self._stale = True
        self._cache.copy(source, target, self.lengths[source] + beyond)
        self.lengths[target], self._held[target] = self.lengths[source], self._held[source]
        self._offsets[target] = self._offsets[source]

    def wipe(self, slot: int, whole: bool) -> None:
        """Clear what lies beyond a slot's sequence, or, if `whole`, all that it holds."""
        self._cache.wipe(slot, 0 if whole else self.lengths[slot])
        if whole:
            self._held[slot] = None

    def _read_all(self, reading: Mapping[tuple[Prompt, Images], int]) -> None:
        texts = {prompt: slot for (prompt, images), slot in reading.items() if not images}
        for chunk in _chunks([prompt for prompt in texts if len(prompt) > 1]):
            self._read([(texts[prompt], prompt[:-1]) for prompt in chunk])
        for (prompt, images), slot in reading.items():
            self._offsets[slot] = self._look(slot, prompt[:-1], images) if images else 0

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

    def _look(self, slot: int, prompt: Prompt, images: Images) -> int:
        """Read a prompt with images; by how much positions differ from places after it."""
        assert self._vision is not None, "the sampler lets no images through to a model of text"
        ids = torch.tensor([prompt], device=self.device)
        places = torch.arange(len(prompt), device=self.device)[None]
        self._cache.aim(torch.tensor([slot], device=self.device), places, None)
        more = self._vision.inputs(ids, images, self.device, self._model.dtype)
        # A model whose positions have several axes knows alone where the patches of an image lie.
        own = hasattr(self._model.model, "get_rope_index")
        self._logits(
            ids,
            None if own else places,
            self._masks.prompt(len(prompt), self.device),
            keep=1,
            **{name: value for name, value in more.items() if name in self._takes},
        )
        return int(self._model.model.rope_deltas[0]) if own else 0

    def _logits(self, ids: Tensor, positions: Tensor | None, mask: Any, keep: int = 0, **more: Any) -> Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            # Drafts may run past the end of the context; what comes of them is cut.
            position_ids=None if positions is None else positions.clamp(max=self._last_position),
            **more,
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
