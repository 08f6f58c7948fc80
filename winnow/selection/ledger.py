"""The ledger: each prompt × sample in exactly one outcome, and counts that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from winnow.errors import UserError
from winnow.selection.candidates import score_of
from winnow.selection.decision import ACCEPTED, NOT_DRAWN, OVER_BUDGET, REFUSED, Decision


@dataclass
class Ledger:
    """Counts outcomes while the rows are written."""

    n: int
    prompts: int = 0
    completion_tokens: int = 0
    passed: int = 0
    prompts_accepted: int = 0
    eligible: int = 0
    examples: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def enter(self, completions: list[dict[str, Any]], decisions: list[Decision], scorer: str) -> None:
        """Account for one prompt.

        Raises:
            UserError: a completion that this scorer has not scored.
        """
        self.prompts += 1
        self.completion_tokens += sum(row["completion_tokens"] for row in completions)
        self.passed += sum(score_of(row, scorer)["passed"] for row in completions)
        self.prompts_accepted += any(d.outcome == ACCEPTED for d in decisions)
        self.eligible += sum(map(_eligible, decisions))
        self.examples += sum(d.outcome == ACCEPTED and d.role != REFUSED for d in decisions)
        self.reasons.update((d.outcome, d.reason) for d in decisions)

    def statistics(self) -> dict[str, Any]:
        """The totals, checked: outcomes sum to prompts × n.

        Raises:
            UserError: they do not.
        """
        entered = sum(self.reasons.values())
        if entered != self.prompts * self.n:
            raise UserError(
                "ledger",
                f"{entered} entries for {self.prompts} prompts × n = {self.n}",
                f"{self.prompts * self.n}",
                "report this: a completion was lost or counted twice",
            )
        accepted = sum(count for (outcome, _), count in self.reasons.items() if outcome == ACCEPTED)
        generated = entered - sum(
            count for (outcome, _), count in self.reasons.items() if outcome == NOT_DRAWN
        )
        return {
            "prompts": self.prompts,
            "n": self.n,
            "completions": entered,
            "generated": generated,
            "passed": self.passed,
            "pass_rate": self.passed / generated if generated else None,
            "eligible": self.eligible,
            "yield": self.eligible / entered if entered else None,
            "accepted": accepted,
            "examples": self.examples,
            "prompts_with_accepted": self.prompts_accepted,
            "completion_tokens": self.completion_tokens,
            "outcomes": {
                f"{outcome}: {reason}": count for (outcome, reason), count in sorted(self.reasons.items())
            },
        }


def _eligible(decision: Decision) -> bool:
    return decision.outcome == ACCEPTED or decision.reason.startswith(OVER_BUDGET)


def as_text(statistics: dict[str, Any]) -> str:
    """The statistics as a person reads them."""
    lines = [
        f"prompts                {statistics['prompts']:>10,}",
        f"completions            {statistics['completions']:>10,}   (n = {statistics['n']})",
        f"passed                 {statistics['passed']:>10,}"
        f"   {_percent(statistics['pass_rate'])} of those generated",
        f"eligible               {statistics['eligible']:>10,}   {_percent(statistics['yield'])} of all",
        f"accepted               {statistics['accepted']:>10,}   of the eligible",
        *_pairs(statistics),
        f"prompts with accepted  {statistics['prompts_with_accepted']:>10,}",
        f"completion tokens      {statistics['completion_tokens']:>10,}",
        "",
        "outcomes",
    ]
    width = max(map(len, statistics["outcomes"]), default=0)
    lines += [f"  {reason:<{width}} {count:>10,}" for reason, count in statistics["outcomes"].items()]
    return "\n".join(lines) + "\n"


def _pairs(statistics: dict[str, Any]) -> list[str]:
    """A line for the examples, where they are not the completions: a pair is one."""
    if statistics["examples"] == statistics["accepted"]:
        return []
    return [f"examples               {statistics['examples']:>10,}   a pair is one"]


def _percent(share: float | None) -> str:
    return "  none" if share is None else f"{share:6.1%}"
