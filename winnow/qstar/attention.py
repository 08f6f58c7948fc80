"""Attention over slots that hold sequences of unequal lengths, registered with transformers.

transformers repeats the keys and values for grouped heads wherever a mask is given: a copy of the
whole cache at every layer and step. Here the query heads of a group stand in one row instead, and
keys and values are read where they lie.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "winnow_slots"
"""The name under which a model's configuration asks for it."""


def slot_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, as transformers' attention interface wants it.

    Args:
        module: the layer that asks.
        query: [rows, heads, new, dimension].
        key, value: [rows, key heads, span, dimension]; heads are a multiple of key heads.
        attention_mask: added to the scores, [rows, 1, new, span]; None means causal, without a past.
        dropout, scaling, options: as the interface passes them.

    Returns:
        [rows, new, heads, dimension], and no weights.
    """
    if attention_mask is None:
        return sdpa_attention_forward(
            module, query, key, value, None, dropout=dropout, scaling=scaling, **options
        )
    if attention_mask.dim() != 4:
        raise ValueError(f"a mask [rows, 1, new, span] is expected, this one is {list(attention_mask.shape)}")
    rows, heads, new, dimension = query.shape
    group = heads // key.shape[1]
    if group > 1:
        query = query.reshape(rows, key.shape[1], group * new, dimension)
        span = attention_mask.shape[-1]
        attention_mask = (
            attention_mask[:, :, None].expand(rows, 1, group, new, span).reshape(rows, 1, group * new, span)
        )
    output = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling
    )
    return output.reshape(rows, heads, new, value.shape[-1]).transpose(1, 2), None


AttentionInterface.register(NAME, slot_attention)
# Masks that a model makes for itself (a vision tower's, a whole pass without slots) are made as for sdpa.
AttentionMaskInterface.register(NAME, sdpa_mask)
