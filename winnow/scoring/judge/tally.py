"""What a judge has said in all, how much of it hangs on the order, and what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.scoring.judge.comparisons import Judged
from winnow.scoring.judge.verdict import FIRST, SECOND

if TYPE_CHECKING:
    from winnow.scoring.judge.service import Answer
    from winnow.serving.failed import Failed

SHOWN = 200
"""Characters of a reason, in a record."""


def reason(answer: Answer | Failed) -> str:
    """Why an answer has no verdict."""
    return ": ".join(filter(None, [answer.detail, getattr(answer, "said", "")]))[:SHOWN]


@dataclass
class Tally:
    """Counts.

    Attributes:
        wanted: questions, each one order of a comparison.
        kept: of them, those that an earlier attempt has the verdict of.
        asked, failed: those that were answered now, or given up; and those that have no verdict.
        prompt_tokens, tokens: of the answers.
        consistent, inconsistent: comparisons of which both orders have a verdict.
        missing: comparisons of which one has none.
        places: of the inconsistent, where both verdicts name the same place.
    """

    wanted: int = 0
    kept: int = 0
    asked: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    consistent: int = 0
    inconsistent: int = 0
    missing: int = 0
    places: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer | Failed) -> str | None:
        """One more answer; its verdict."""
        self.asked += 1
        self.prompt_tokens += getattr(answer, "prompt_tokens", 0)
        self.tokens += getattr(answer, "tokens", 0)
        verdict: str | None = getattr(answer, "verdict", None)
        if verdict is None:
            self.failed += 1
            self.why[answer.detail[:SHOWN]] += 1
        return verdict

    def count(self, forward: str, backward: str, found: Judged) -> None:
        """One more comparison, by what the judge said in each order."""
        if found.consistent:
            self.consistent += 1
            return
        self.inconsistent += 1
        if forward == backward:
            self.places[forward] += 1

    def reasons(self) -> str:
        """The most frequent reasons of missing verdicts."""
        return "; ".join(f"{count} times: {reason}" for reason, count in self.why.most_common(3))

    def __str__(self) -> str:
        """For the log, at the end."""
        cost = (
            f"{self.asked:,} questions asked now, {self.kept:,} before; tokens: {self.prompt_tokens:,} of "
            f"prompts, {self.tokens:,} of answers"
        )
        done = self.consistent + self.inconsistent
        if not done:
            return cost
        return (
            f"{done:,} comparisons, {self.missing:,} more are missing; {self.inconsistent:,} inconsistent "
            f"({self.inconsistent / done:.1%}), counted as ties: the first place won {self.places[FIRST]:,} "
            f"of them, the second {self.places[SECOND]:,}; {cost}"
        )
