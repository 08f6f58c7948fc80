"""A decoder for models whose state cannot be cut back: recurrent ones, and hybrids of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from winnow.qstar.models import LoadedModel

Prompt = tuple[int, ...]


class StatefulDecoder:
    """As `decoder.Decoder`, one token a round; each slot is a forward pass of its own.

    A recurrent state is neither masked nor cropped: rows of unequal lengths cannot share a pass with
    padding, and a rejected draft could not be taken back.

    Args:
        loaded: the model.
        width: leading columns of the logits to keep.
        slots: sequences that are decoded together, at most.
    """

    crops = False

    def __init__(self, loaded: LoadedModel, width: int, slots: int) -> None:
        self.device = loaded.device
        self.lengths = [0] * slots
        self._model: Any = loaded.model
        self._width = width
        # Pure recurrent models of transformers have another word for it.
        named = "cache_params" in inspect.signature(loaded.model.forward).parameters
        self._cache_name = "cache_params" if named else "past_key_values"
        self._caches: list[Any] = [None] * slots
        # The samples of a prompt follow each other, many of them after others have left their slots.
        self._latest: tuple[Prompt, Any] | None = None

    @torch.inference_mode()
    def admit(self, entries: Sequence[tuple[int, Prompt]], images: Mapping[int, Any] | None = None) -> None:
        """Put sequences into slots: (slot, prompt); without images. The last prompt is not read again."""
        for slot, prompt in entries:
            self.lengths[slot] = len(prompt) - 1
            if self._latest is None or self._latest[0] != prompt:
                self._latest = prompt, self._read(prompt)
            self._caches[slot] = copy.deepcopy(self._latest[1])

    def place(
        self, rows: int, new: int, going: int | None = None, rounded: Callable[[int], int] | None = None
    ) -> int:
        """Nothing has to be told: each slot's state knows its own length."""
        return 0

    @torch.inference_mode()
    def forward(self, tokens: Tensor, ahead: int = 0) -> Tensor:
        """Read one new token [rows, 1] of each leading slot; logits after it, [rows, 1, width]."""
        if tokens.shape[1] != 1 or ahead:
            raise ValueError("a model whose state cannot be cut back reads one token a round")
        return torch.cat(
            [self._pass(self._caches[slot], [token]) for slot, token in enumerate(tokens[:, 0].tolist())]
        )

    def advance(self, counts: Sequence[int]) -> None:
        """Count the token that was read last."""
        for slot, count in enumerate(counts):
            self.lengths[slot] += count

    def move(self, source: int, target: int) -> None:
        """Continue a slot's sequence in another slot."""
        self._caches[target], self._caches[source] = self._caches[source], None
        self.lengths[target] = self.lengths[source]

    def wipe(self, slot: int, whole: bool) -> None:
        """Forget what a slot holds, if `whole`; nothing lies beyond its sequence."""
        if whole:
            self._caches[slot] = self._latest = None

    def _read(self, prompt: Prompt) -> Any:
        """The state after all of a prompt but its last token."""
        cache = DynamicCache(config=self._model.config)
        if len(prompt) > 1:
            self._pass(cache, prompt[:-1])
        return cache

    def _pass(self, cache: Any, tokens: Sequence[int]) -> Tensor:
        ids = torch.tensor([list(tokens)], device=self.device)
        output = self._model(input_ids=ids, use_cache=True, logits_to_keep=1, **{self._cache_name: cache})
        return output.logits[:, :, : self._width]  # type: ignore[no-any-return]
