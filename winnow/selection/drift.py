"""How completions of a teacher that saw the answer differ from unhinted ones of the same prompts.

Length in tokens, and the mean log-probability of a token under the model that drew it, whose negative is
an estimate of its entropy per token (one draw of its Monte-Carlo sum). Both are reported; they gate where a
bound is configured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from winnow.errors import UserError
from winnow.records import NOT_GENERATED
from winnow.selection.decision import REJECTED, Decision

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bounds:
    """How far a completion may be from the unhinted ones of its prompt.

    Attributes:
        max_length: the largest ratio of its length to their mean, either way; at least 1. None gates
            nothing.
        max_logprob: the largest difference of its mean log-probability from theirs, in nats a token.

    Raises:
        UserError: a bound out of its range.
    """

    max_length: float | None = None
    max_logprob: float | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and not self.max_length >= 1:
            raise UserError(
                "selection: max_length_drift", f"{self.max_length}", "a ratio of at least 1", "correct it"
            )
        if self.max_logprob is not None and not self.max_logprob >= 0:
            raise UserError("selection: max_logprob_drift", f"{self.max_logprob}", "at least 0", "correct it")

    @property
    def given(self) -> bool:
        """Whether anything is gated."""
        return self.max_length is not None or self.max_logprob is not None


@dataclass(frozen=True)
class Unhinted:
    """The unhinted completions of a prompt: mean length in tokens, mean log-probability of a token.

    None where no completion has it.
    """

    tokens: float | None
    logprob: float | None

    @staticmethod
    def of(rows: Iterable[Row]) -> Unhinted:
        """What the rows of a prompt give."""
        drawn = [row for row in rows if row["finish_reason"] not in NOT_GENERATED]
        return Unhinted(
            _mean([row["completion_tokens"] for row in drawn]),
            _mean([found for found in map(mean_logprob, drawn) if found is not None]),
        )


def mean_logprob(row: Row) -> float | None:
    """The mean log-probability of a completion's tokens, in nats; None where it was not kept."""
    kept = row.get("logprobs")
    return math.fsum(kept) / len(kept) if kept else None


def judge(bounds: Bounds, unhinted: Unhinted, row: Row) -> Decision | None:
    """Why a completion is rejected, or None."""
    ratio = _ratio(row["completion_tokens"], unhinted.tokens)
    if bounds.max_length is not None and ratio is not None and not _within(ratio, bounds.max_length):
        return Decision(
            REJECTED, f"leak: length beyond {bounds.max_length:g} of the unhinted", f"ratio {ratio:.3g}"
        )
    logprob = mean_logprob(row)
    if bounds.max_logprob is not None and logprob is not None and unhinted.logprob is not None:
        difference = logprob - unhinted.logprob
        if abs(difference) > bounds.max_logprob:
            return Decision(
                REJECTED,
                f"leak: log-probability beyond {bounds.max_logprob:g} of the unhinted",
                f"{difference:+.3g} nats a token",
            )
    return None


@dataclass
class Drift:
    """Sums over prompts that have both kinds of completions."""

    prompts: int = 0
    logprob_prompts: int = 0
    _sums: dict[str, float] = field(default_factory=dict)

    def enter(self, hinted: Unhinted, unhinted: Unhinted) -> None:
        """One prompt: the means of its hinted completions, and of the unhinted."""
        if hinted.tokens is not None and unhinted.tokens is not None:
            self.prompts += 1
            self._add("tokens", hinted.tokens)
            self._add("tokens_unhinted", unhinted.tokens)
        if hinted.logprob is not None and unhinted.logprob is not None:
            self.logprob_prompts += 1
            self._add("logprob", hinted.logprob)
            self._add("logprob_unhinted", unhinted.logprob)

    def statistics(self) -> dict[str, Any]:
        """Means over prompts, their ratio and difference; null where nothing is known."""
        tokens, plain = self._of("tokens", self.prompts), self._of("tokens_unhinted", self.prompts)
        logprob = self._of("logprob", self.logprob_prompts)
        plain_logprob = self._of("logprob_unhinted", self.logprob_prompts)
        return {
            "prompts": self.prompts,
            "tokens": tokens,
            "tokens_unhinted": plain,
            "length_ratio": None if tokens is None else _ratio(tokens, plain),
            "logprob_prompts": self.logprob_prompts,
            "entropy": None if logprob is None else -logprob,
            "entropy_unhinted": None if plain_logprob is None else -plain_logprob,
            "entropy_difference": None
            if logprob is None or plain_logprob is None
            else plain_logprob - logprob,
        }

    def _add(self, key: str, value: float) -> None:
        self._sums[key] = self._sums.get(key, 0.0) + value

    def _of(self, key: str, count: int) -> float | None:
        return self._sums[key] / count if count else None


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _ratio(value: float, mean: float | None) -> float | None:
    return value / mean if mean else None


def _within(ratio: float, most: float) -> bool:
    return 1 / most <= ratio <= most
