"""Run a reward model over batches of rows, and read each row's reward where the model itself would."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from winnow.scoring.reward_batches import Batch, Row, Shared, Suffix, Whole
from winnow.scoring.reward_schedule import OutOfMemory

log = logging.getLogger(__name__)

Way = Literal["shared", "padded", "pooled", "alone"]
"""How a model can be run without changing its rewards: with prefixes shared; in padded batches whose last
hidden states go through its head; in padded batches that it pools itself; or one row at a time."""
PROBE = (13, 24)
"""Tokens of the two rows that decide it."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Of the larger of 1 and a probe's reward. In half precision, only gross differences tell."""
HALF_TOLERANCE = 0.1
ROW_DEPENDENT_ROPE = ("longrope", "dynamic")
"""Rotations that depend on the longest row of a batch."""


class RewardForward:
    """A sequence classifier over batches of rows.

    Args:
        model: in evaluation mode, on its device.
        column: the output of its head that is the reward.
        name: its name, for messages.

    Attributes:
        way: the fastest way in which its rewards are those of a row alone.
    """

    def __init__(self, model: Any, column: int, name: str) -> None:
        self._model, self._column = model, column
        self._base, self._head = model.base_model, getattr(model, "score", None)
        self._device = next(model.parameters()).device
        self._filler = getattr(model.config.get_text_config(), "pad_token_id", None)
        self.way, reason = self._fastest()
        if reason:
            log.info("%s: %s", name, reason)

    @property
    def reads_the_last(self) -> bool:
        """Whether a row ends, for this model, at the token at which its reward is read."""
        return self.way in ("shared", "padded")

    def until_read(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What the reward of a row depends on.

        A transformers classifier reads the last token that is not its padding token, even where that is
        the end-of-turn token of every row: so it was trained, and so we read it. Nothing behind that
        token can matter to a causal model.
        """
        if not self.reads_the_last:
            return tokens
        end = len(tokens)
        while end > 1 and tokens[end - 1] == self._filler:
            end -= 1
        return tokens[:end]

    def __call__(self, batch: Batch) -> Iterator[tuple[int, float]]:
        """The index and reward of each row, pass by pass.

        Raises:
            OutOfMemory: on the model's device.
        """
        if isinstance(batch, Whole):
            with _memory():
                values = self._whole(batch.rows)
            yield from _paired(batch.rows, values)
            return
        with _memory():
            prefixes = self._prefilled(batch.prefixes)
        lengths = [len(prefix) for prefix in batch.prefixes]
        for suffixes in batch.passes:
            with _memory():
                values = self._suffixes(suffixes, prefixes, lengths)
            yield from _paired([suffix.row for suffix in suffixes], values)

    @torch.inference_mode()
    def _whole(self, rows: Sequence[Row]) -> list[float]:
        ids, lengths = self._padded([row.tokens for row in rows])
        if self.reads_the_last:
            # Padding stands behind, where a causal model never looks: a mask without it costs less.
            hidden = self._base(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
            return self._read(hidden.last_hidden_state, lengths)
        mask = (torch.arange(ids.shape[1], device=self._device) < lengths[:, None]).long()
        return self._values(self._model(input_ids=ids, attention_mask=mask).logits)

    @torch.inference_mode()
    def _prefilled(self, prefixes: Sequence[tuple[int, ...]]) -> Cache:
        """Keys and values of prefixes: [prefixes, heads, longest, dimension] in each layer."""
        ids, _ = self._padded(prefixes)
        cache = DynamicCache(config=self._model.config)
        self._base(input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def _suffixes(self, suffixes: Sequence[Suffix], prefixes: Any, lengths: Sequence[int]) -> list[float]:
        ids, new = self._padded([suffix.tokens for suffix in suffixes])
        places = torch.tensor([suffix.prefix for suffix in suffixes], device=self._device)
        before = torch.tensor(lengths, device=self._device)[places, None]
        span = prefixes.get_seq_length()
        mask = torch.ones(len(suffixes), span + ids.shape[1], dtype=torch.long, device=self._device)
        mask[:, :span] = torch.arange(span, device=self._device) < before
        # Padding takes the last position: one behind it might be more than the model has.
        ahead = torch.minimum(torch.arange(ids.shape[1], device=self._device), new[:, None] - 1)
        hidden = self._base(
            input_ids=ids,
            attention_mask=mask,
            position_ids=before + ahead,
            past_key_values=Cache(layers=[_PrefixLayer(layer, places) for layer in prefixes.layers]),
            use_cache=True,
        ).last_hidden_state
        return self._read(hidden, new)

    def _padded(self, rows: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """Ids filled up on the right, [rows, longest], and the rows' lengths."""
        longest = max(map(len, rows))
        filler = self._filler or 0
        ids = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], device=self._device)
        return ids, torch.tensor([len(row) for row in rows], device=self._device)

    def _read(self, hidden: Tensor, lengths: Tensor) -> list[float]:
        """The head over the hidden state of each row's last token; `hidden` is [rows, longest, width]."""
        assert self._head is not None
        last = hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1]
        return self._values(self._head(last))

    def _values(self, logits: Tensor) -> list[float]:
        values: list[float] = logits[:, self._column].float().tolist()
        return values

    def _fastest(self) -> tuple[Way, str]:
        """The fastest way that leaves the rewards of a probe as they are, and what rules out a faster one."""
        text = self._model.config.get_text_config()
        rope = getattr(text, "rope_parameters", None) or {}
        if rope.get("rope_type") in ROW_DEPENDENT_ROPE:
            return (
                "alone",
                f"its positions ({rope['rope_type']}) depend on a batch's longest row: one at a time",
            )
        rows = self._probe()
        expected = [self._alone(row) for row in rows]
        if isinstance(self._head, torch.nn.Linear) and self._base is not self._model:
            self.way = "padded"
            if self._agree(self._whole(rows), expected):
                if reason := self._no_prefix() or self._other_rewards(rows, expected):
                    return "padded", f"prompts are not shared by their completions: {reason}"
                return "shared", ""
        self.way = "pooled"
        if self._filler is not None and self._agree(self._whole(rows), expected):
            return "pooled", "prompts are not shared by their completions: it is no causal model with a head"
        return "alone", "its rewards depend on the padding of a batch: one row at a time"

    def _probe(self) -> list[Row]:
        width = self._model.get_input_embeddings().weight.shape[0]
        ids = [index for index in range(width - 1, -1, -1) if index != self._filler]
        tokens = [ids[index * 7 % len(ids)] for index in range(max(PROBE))]
        return [Row(place, "", tuple(tokens[:length])) for place, length in enumerate(PROBE)]

    @torch.inference_mode()
    def _alone(self, row: Row) -> float:
        ids = torch.tensor([row.tokens], device=self._device)
        return self._values(self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)[0]

    def _agree(self, values: Sequence[float], expected: Sequence[float]) -> bool:
        most = TOLERANCE.get(self._model.dtype, HALF_TOLERANCE)
        return all(abs(a - b) <= most * max(1.0, abs(b)) for a, b in zip(values, expected, strict=True))

    def _no_prefix(self) -> str:
        """Why the keys and values of a prefix cannot stand before several suffixes; empty if they can."""
        taken = inspect.signature(self._base.forward).parameters
        if not {"past_key_values", "position_ids"} <= taken.keys():
            return f"{type(self._base).__name__} takes no positions beside a cache"
        kinds = {type(layer) for layer in DynamicCache(config=self._model.config).layers}
        if kinds - {DynamicLayer} or self._model._is_stateful:
            return "not all of its layers keep every key and value (a sliding window, or a recurrent state)"
        return ""

    def _other_rewards(self, rows: Sequence[Row], expected: Sequence[float]) -> str:
        prefixes = tuple(row.tokens[: len(row.tokens) // 2] for row in rows)
        passes = tuple(
            Suffix(row, place, row.tokens[len(prefixes[place]) :]) for place, row in enumerate(rows)
        )
        found = dict(self(Shared(prefixes, (passes,))))
        return "" if self._agree([found[row.index] for row in rows], expected) else "a probe's rewards differ"


class _PrefixLayer(DynamicLayer):  # type: ignore[misc, unused-ignore]
    """A layer's keys and values of prefixes, chosen for each row when the layer asks; it keeps nothing new.

    Chosen for all layers at once, they would fill memory as if nothing were shared.
    """

    def __init__(self, prefixes: DynamicLayer, places: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self._places = prefixes.keys, prefixes.values, places
        self.dtype, self.device, self.is_initialized = prefixes.dtype, prefixes.device, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of each row's prefix and of what is new behind it."""
        assert self.keys is not None
        assert self.values is not None
        return (
            torch.cat([self.keys[self._places], key_states], dim=-2),
            torch.cat([self.values[self._places], value_states], dim=-2),
        )


@contextmanager
def _memory() -> Iterator[None]:
    """Raise OutOfMemory for what torch and Python raise when there is none left."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        # What torch raises on a CPU.
        if "can't allocate memory" in str(error):
            raise OutOfMemory(str(error)) from error
        raise


def _paired(rows: Sequence[Row], values: Sequence[float]) -> list[tuple[int, float]]:
    return [(row.index, value) for row, value in zip(rows, values, strict=True)]
