"""What benchmarks/qstar.py draws: models of random weights, prompts, and completions of unequal lengths."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3Config

from winnow.qstar import attention
from winnow.qstar.models import LoadedModel
from winnow.qstar.proposals import Choose, Proposal, StudentDrafts
from winnow.qstar.scheduler import Row

VOCABULARY = 16_384


@dataclass(frozen=True)
class Shape:
    """Of a Qwen3-like model: grouped heads of 64, tied embeddings."""

    name: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("120M", 768, 16, 12, 4, 2304),
        Shape("30M", 448, 10, 7, 1, 1344),
        Shape("7M", 256, 4, 4, 2, 768),
    )
}


def model(name: str, dtype: torch.dtype, device: str) -> LoadedModel:
    """A model of random weights."""
    shape = SHAPES[name]
    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=64,
        intermediate_size=shape.inner,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    made: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention.NAME)
    made.eval().requires_grad_(False).to(device)
    tokenizer: Any = type("NoTokenizer", (), {"pad_token_id": 0})()
    return LoadedModel(name, made, tokenizer, None, frozenset(), 4096)  # type: ignore[arg-type]


def rows(prompts: int, n: int, mean: int, longest: int, both: bool, student: bool = False) -> list[Row]:
    """n completions for each prompt, their lengths geometric with a mean, cut at `longest`.

    The student's prompts have 24 to 40 tokens, the teacher's hold 16 more.
    """
    source = random.Random(11)
    found = []
    for prompt in range(prompts):
        own = tuple(source.randrange(VOCABULARY) for _ in range(source.randint(24, 40)))
        teachers = own + tuple(source.randrange(VOCABULARY) for _ in range(16))
        for sample in range(n):
            length = min(longest, 1 + int(source.expovariate(1 / mean)))
            seed = source.getrandbits(62)
            shown = own if both or student else teachers
            found.append(Row(f"{prompt}/{sample}", seed, shown, teachers if both else None, length))
    return found


def noise_bank(strength: float) -> Tensor:
    """[64, vocabulary], rows of unequal strengths."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(64, VOCABULARY, generator=generator)
    spread = strength * torch.linspace(0.2, 1.8, 64)[torch.randperm(64, generator=generator)]
    return noise * spread[:, None]


class SetAcceptance(StudentDrafts):
    """The teacher runs, but its logits are the student's plus noise, so that β is what is asked for.

    Weights at random agree on nothing; the noise of a place is one of a bank of rows, whose strengths
    differ, so that β differs between tokens as it does in texts.
    """

    def __init__(self, theta: Any, t: Any, strength: float) -> None:
        super().__init__(theta, t)
        self._bank = noise_bank(strength).to(self.device)

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        found = super().propose(last, depth, choose)
        before = torch.cat([last[:, :1], found.drafts[:, :-1]], dim=1)
        keys = before * 31 % 64
        second: Tensor = self._bank[keys].add_(found.first)
        return Proposal(found.drafts, found.log_draft, found.first, second)
