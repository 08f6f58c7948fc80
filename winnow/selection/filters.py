"""Filters that look at a prompt's own completions and at nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from winnow.errors import UserError
from winnow.records import FINISH_REASONS, NOT_GENERATED


@dataclass(frozen=True)
class Filters:
    """What a completion must be like, whatever its score.

    Attributes:
        skip_identical: leave out prompts all of whose completions are identical, as open-instruct's
            rejection sampling does: they have nothing to choose among. One completion alone is no such.
        finish_reasons: those that are kept; empty keeps all.
        min_tokens, max_tokens: bounds on a completion's length, both inside; None is no bound.

    Raises:
        UserError: a value out of its range.
    """

    skip_identical: bool = False
    finish_reasons: tuple[str, ...] = ()
    min_tokens: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        known = [reason for reason in FINISH_REASONS if reason not in NOT_GENERATED]
        for reason in self.finish_reasons:
            if reason not in known:
                raise UserError(
                    "selection: finish_reasons",
                    repr(reason),
                    f"some of {', '.join(known)}",
                    "correct the list",
                )
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise UserError(
                "selection: min_tokens",
                f"{self.min_tokens}, and max_tokens is {self.max_tokens}",
                "min_tokens ≤ max_tokens",
                "correct the bounds",
            )

    def of_prompt(self, drawn: Sequence[Mapping[str, Any]]) -> str | None:
        """Why a prompt with these completions, those that a model produced, is left out; or None."""
        if self.skip_identical and len(drawn) > 1 and len({row["text"] for row in drawn}) == 1:
            return "prompt's completions are all identical"
        return None

    def of_completion(self, row: Mapping[str, Any]) -> str | None:
        """Why a completion is left out, or None."""
        if self.finish_reasons and row["finish_reason"] not in self.finish_reasons:
            return f"finish reason {row['finish_reason']}"
        tokens = row["completion_tokens"]
        if self.min_tokens is not None and tokens < self.min_tokens:
            return f"under min_tokens = {self.min_tokens}"
        if self.max_tokens is not None and tokens > self.max_tokens:
            return f"over max_tokens = {self.max_tokens}"
        return None
