"""What benchmarks/qstar.py draws: prompts, completions of unequal lengths, and a β that is set by noise."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.qstar_models import DEEPEST, VOCABULARY
from winnow.qstar.proposals import Choose, Proposal, StudentDrafts
from winnow.qstar.scheduler import Row

STRENGTHS = (0.70, 0.46)
"""Noise for a β of about 0.86 and 0.91, whatever the shape, where the student's logits are broad; what came
out is printed."""
N = 8
"""Completions of a prompt."""


@dataclass(frozen=True)
class Work:
    """How much is drawn: completions of a geometric length, so many times.

    Attributes:
        mean: tokens of a completion.
        longest: of the longest.
        repeats: turns of each side.
        seconds: no turn but the first begins later than this.
    """

    mean: int
    longest: int
    repeats: int
    seconds: float = math.inf

    def rows(self, prompts: int, both: bool) -> list[Row]:
        """Eight for each prompt."""
        return rows(prompts, N, self.mean, self.longest, both)

    @property
    def capacity(self) -> int:
        """Places of a slot: prompt, the longest completion, and drafts beyond its end."""
        return 64 + self.longest + DEEPEST


def rows(prompts: int, n: int, mean: int, longest: int, both: bool) -> list[Row]:
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
            shown = own if both else teachers
            found.append(Row(f"{prompt}/{sample}", seed, shown, teachers if both else None, length))
    return found


@cache
def noise_bank(strength: float, vocabulary: int = VOCABULARY) -> Tensor:
    """[64, vocabulary], rows of unequal strengths."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(64, vocabulary, generator=generator)
    spread = strength * torch.linspace(0.2, 1.8, 64)[torch.randperm(64, generator=generator)]
    return noise * spread[:, None]


class SetAcceptance(StudentDrafts):
    """The teacher runs, but its logits are the student's plus noise, so that β is what is asked for.

    Weights at random agree on nothing; the noise of a place is one of a bank of rows, whose strengths
    differ, so that β differs between tokens as it does in texts.
    """

    def __init__(
        self,
        theta: Any,
        t: Any,
        strength: float,
        vocabulary: int = VOCABULARY,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(theta, t)
        self._bank = noise_bank(strength, vocabulary).to(self.device, dtype)

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        found = super().propose(last, depth, choose)
        before = torch.cat([last[:, :1], found.drafts[:, :-1]], dim=1)
        keys = before * 31 % 64
        second: Tensor = self._bank[keys].add_(found.first)
        return Proposal(found.drafts, found.log_draft, found.first, second)
