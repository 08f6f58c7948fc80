"""Whether the engine decodes a model as it reads a text in one pass: tried on a few tokens when it is loaded.

Positions, masks and caches are kept by each kind of model in its own way, and some look elsewhere than
where they are told: at a mask of their own, or at a state that they keep to themselves. What would come out
is text, but not of the model's distribution.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import cycle, islice

import torch
from torch import Tensor

from winnow.errors import UserError
from winnow.qstar.decoder import Decoder
from winnow.qstar.memory import ran_out
from winnow.qstar.models import LoadedModel
from winnow.qstar.proposals import Decodes
from winnow.qstar.stateful import StatefulDecoder

log = logging.getLogger("generate")

TEXT = "What is 12 + 30? First 10 + 30 = 40, then 40 + 2 = 42."
LENGTHS = (9, 4)
"""Tokens of two prompts, unequal, so that one of them has another's places beside it."""
FAR = 0.25
"""Distance from the whole pass, over the logits' own spread, at the median place of a prompt.

Half precision, and experts that are chosen by a hair, move single places; another mask or state moves most,
and by about 1.
"""


def probed(loaded: LoadedModel) -> LoadedModel:
    """The model, marked where its rows have to be decoded one by one.

    Raises:
        UserError: it is not decoded rightly in any way.
    """
    reason = _strays(loaded) if loaded.crops else None
    if reason is not None:
        log.warning("%s: its rows cannot share a pass (%s)", loaded.name, reason)
        loaded = replace(loaded, alone=True)
    reason = None if loaded.crops else _strays(loaded)
    if reason is not None:
        raise UserError(
            loaded.name,
            f"token by token it does not give what it gives in one pass ({reason})",
            "a causal model that keeps its past in the cache that it is given",
            "choose another model, or draw from this one with backend: vllm, if vLLM knows it",
        )
    return loaded


def _strays(loaded: LoadedModel) -> str | None:
    """How a model's decoding differs from one pass over the same tokens; None if it does not."""
    try:
        texts = [_tokens(loaded, shift, length + 3) for shift, length in enumerate(LENGTHS)]
        whole = [_whole(loaded, text)[length - 1 :] for text, length in zip(texts, LENGTHS, strict=True)]
        found = _in_rounds(loaded, texts)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
        if ran_out(error):
            raise
        # Each kind of model has its own way to say that it was not made for this.
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:150]}"
    expected = torch.stack(whole).to(found.device, torch.float32)
    if not bool(expected.isfinite().all()):
        return None  # Broken weights: each row that meets a NaN says so.
    spread = expected.std(dim=-1, correction=0).clamp_min(1e-6)
    places = (found - expected).square().mean(dim=-1).sqrt() / spread
    distance = float(places.median(dim=1).values.amax())
    return None if distance < FAR else f"its logits are off by {distance:.2f} of their spread"


def _tokens(loaded: LoadedModel, shift: int, count: int) -> list[int]:
    """So many tokens of a text, from another one on for each prompt."""
    ids = loaded.tokenizer.encode(TEXT, add_special_tokens=False) or [loaded.pad_id]
    return list(islice(cycle(ids), shift, shift + count))


@torch.inference_mode()
def _whole(loaded: LoadedModel, tokens: list[int]) -> Tensor:
    """Logits after each token, [tokens, columns]."""
    ids = torch.tensor([tokens], device=loaded.device)
    return loaded.model(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]


def _in_rounds(loaded: LoadedModel, texts: list[list[int]]) -> Tensor:
    """The logits after the last token of each prompt and the three that follow, [prompts, 4, columns].

    As in drafting: a token that is read with the first is taken back, and two are read at once after it.
    """
    count, capacity = len(texts), max(map(len, texts)) + 1
    decoder: Decodes = (
        Decoder(loaded, loaded.width, count, capacity)
        if loaded.crops
        else StatefulDecoder(loaded, loaded.width, count)
    )
    pairs = list(zip(texts, LENGTHS, strict=True))
    decoder.admit([(slot, tuple(text[:length])) for slot, (text, length) in enumerate(pairs)], {})
    parts: list[Tensor] = []
    for first, end in ((-1, 0), (0, 2), (2, 3)) if loaded.crops else ((-1, 0), (0, 1), (1, 2), (2, 3)):
        rows = [text[length + first : length + end] for text, length in pairs]
        if loaded.crops and not parts:
            rows = [row * 2 for row in rows]
        decoder.place(count, len(rows[0]))
        parts.append(decoder.forward(torch.tensor(rows))[:, : end - first].float())
        decoder.advance([end - first] * count)
    return torch.cat(parts, dim=1)
