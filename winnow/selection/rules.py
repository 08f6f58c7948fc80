"""The rules of selection: pure decisions over one prompt's completions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from winnow.errors import UserError, closest
from winnow.records import NOT_GENERATED
from winnow.scoring import measure

STRATEGIES = ("correct", "best", "min_error")
ACCEPTED, REJECTED, NOT_DRAWN = "accepted", "rejected", "not_generated"
OVER_BUDGET = "over num_examples"
"""Begins the reason of what the rules would keep and the size of the training set did not."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one completion: an outcome, and the reason in words that can be counted."""

    outcome: str
    reason: str


@dataclass(frozen=True)
class Rules:
    """What is kept of a prompt's completions.

    Attributes:
        strategy: `correct` keeps all that passed; `best` the one of the best value (the lowest of
            an error, the highest of a reward; of a verdict, one that passed); `min_error` the one
            of the lowest error, if it is at most `max_error`.
        scorer: whose score decides.
        max_error: for `min_error`.
        max_per_prompt: at most so many, the lowest samples first; None keeps all.
        deduplicate: drop completions whose text stood before in the same prompt.
        pass_rate: keep prompts whose share of passed completions lies in [low, high]: it leaves
            out what is too easy or too hard.

    Raises:
        UserError: an unknown strategy or scorer, or a value out of its range.
    """

    strategy: str = "correct"
    scorer: str = "exact_answer"
    max_error: float | None = None
    max_per_prompt: int | None = None
    deduplicate: bool = True
    pass_rate: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UserError(
                "selection: strategy",
                f"{self.strategy!r} is unknown{closest(self.strategy, STRATEGIES)}",
                "one of " + ", ".join(STRATEGIES),
                "correct the name",
            )
        kind = measure(self.scorer)
        if self.strategy == "min_error" and kind != "error":
            raise UserError(
                "selection: strategy",
                f"min_error by {self.scorer!r}, whose value is a {kind}",
                "a scorer whose value is an error, as numeric_error",
                "choose the scorer numeric_error, or the strategy correct",
            )
        low, high = self.pass_rate
        if not 0.0 <= low <= high <= 1.0:
            raise UserError(
                "selection: pass_rate", f"[{low}, {high}]", "0 ≤ low ≤ high ≤ 1", "correct the band"
            )

    def decide(self, completions: list[dict[str, Any]]) -> list[Decision]:
        """One decision for each completion of a prompt, in order."""
        decisions: list[Decision | None] = [self._unscored(row) for row in completions]
        low, high = self.pass_rate
        drawn = [row for row, decision in zip(completions, decisions, strict=True) if decision is None]
        passed = sum(self._score(row)["passed"] for row in drawn)
        in_band = bool(drawn) and low <= passed / len(drawn) <= high
        best = self._best(drawn)
        texts: set[str] = set()
        kept = 0
        for index, row in enumerate(completions):
            if decisions[index] is not None:
                continue
            decision = self._reject(row, in_band, best, texts, kept)
            if decision is None:
                kept += 1
                texts.add(row["text"])
                decision = Decision(ACCEPTED, self.strategy)
            decisions[index] = decision
        return [decision for decision in decisions if decision is not None]

    def _score(self, row: dict[str, Any]) -> dict[str, Any]:
        score: dict[str, Any] | None = row["scores"].get(self.scorer)
        if score is None:
            raise UserError(
                f"completion {row['id']}",
                f"no score of {self.scorer!r} (it has {', '.join(row['scores']) or 'none'})",
                "the scorer that the selection uses",
                "add it to the scorers, or select by another",
            )
        return score

    def _unscored(self, row: dict[str, Any]) -> Decision | None:
        if row["finish_reason"] in NOT_GENERATED:
            return Decision(NOT_DRAWN, row["finish_reason"])
        return None

    def _best(self, rows: list[dict[str, Any]]) -> str | None:
        """The id of the one that `best` or `min_error` keeps; ties go to the lowest sample."""
        if self.strategy == "correct":
            return None
        valued = [row for row in rows if self._score(row)["value"] is not None]
        kind = measure(self.scorer)
        if kind == "verdict":
            valued = [row for row in valued if self._score(row)["passed"]]
        sign = 1 if kind == "error" else -1
        if not valued:
            return None
        chosen = min(valued, key=lambda row: (sign * self._score(row)["value"], row["sample"]))
        return str(chosen["id"])

    def _reject(
        self, row: dict[str, Any], in_band: bool, best: str | None, texts: set[str], kept: int
    ) -> Decision | None:
        """Why a completion is not kept, or None."""
        score = self._score(row)
        if not in_band:
            return Decision(REJECTED, "prompt's pass rate outside the band")
        if self.strategy == "correct" and not score["passed"]:
            return Decision(REJECTED, "did not pass")
        if self.strategy != "correct":
            if score["value"] is None:
                return Decision(REJECTED, "has no value")
            if row["id"] != best:
                return Decision(REJECTED, f"not the prompt's {self.strategy}")
        if self.strategy == "min_error" and self.max_error is not None and score["value"] > self.max_error:
            return Decision(REJECTED, f"error above {self.max_error:g}")
        if self.deduplicate and row["text"] in texts:
            return Decision(REJECTED, "duplicate within its prompt")
        if self.max_per_prompt is not None and kept >= self.max_per_prompt:
            return Decision(REJECTED, f"over max_per_prompt = {self.max_per_prompt}")
        return None


def draw_key(seed: int, completion: str) -> int:
    """A 64-bit key: the completions of the smallest keys are a seeded random subset, in any order."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{completion}".encode(), digest_size=8).digest(), "big")
