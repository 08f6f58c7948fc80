"""How a token is drawn from q*. Needs no torch, so that a mistake shows before it is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass

from winnow.errors import UserError

COLDEST = 1e-6
"""Logits over a lower temperature would leave float32, and a softmax of infinities is NaN."""


@dataclass(frozen=True)
class SamplingParameters:
    """How a token is drawn.

    Attributes:
        temperature: divides both models' logits before the mixture; 0 takes the arg-max of q*.
        top_k: keep the k likeliest tokens of q*; 0 keeps all.
        top_p: keep the smallest set of tokens whose q* reaches p; 1 keeps all.
        max_new_tokens: cut after so many tokens, the end-of-sequence token counted.
        stop: strings that end a completion; its text ends before the first of them.

    Raises:
        UserError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, holds, expected in (
            (
                "temperature",
                self.temperature == 0 or COLDEST <= self.temperature < math.inf,
                f"at least 0: 0 itself, or a number from {COLDEST:g} on",
            ),
            ("top_k", _whole(self.top_k) and self.top_k >= 0, "a whole number, at least 0 (0 keeps all)"),
            ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
            (
                "max_new_tokens",
                _whole(self.max_new_tokens) and self.max_new_tokens >= 1,
                "a whole number, at least 1",
            ),
            ("stop", all(self.stop), "strings that are not empty"),
        ):
            if not holds:
                raise UserError(name, f"{getattr(self, name)}", expected, "correct the value")

    @property
    def whole(self) -> bool:
        """Whether a token is drawn from all of q*, no head cut from it."""
        return self.temperature > 0 and not self.top_k and self.top_p >= 1.0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
