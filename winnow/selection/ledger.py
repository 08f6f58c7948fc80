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

    def enter(
        self,
        completions: list[dict[str, Any]],
        decisions: list[Decision],
        scorer: str,
        reference: Decision | None = None,
    ) -> None:
        """Account for one prompt.

        Args:
            completions: what was drawn of it, or failed to be.
            decisions: one for each.
            scorer: whose `passed` counts.
            reference: what became of its reference, where that is a candidate: it is in no count but those
                of examples and of prompts with something accepted.

        Raises:
            UserError: a completion that this scorer has not scored.
        """
        self.prompts += 1
        self.completion_tokens += sum(row["completion_tokens"] for row in completions)
        self.passed += sum(score_of(row, scorer)["passed"] for row in completions)
        everything = decisions if reference is None else [*decisions, reference]
        self.prompts_accepted += any(d.outcome == ACCEPTED for d in everything)
        self.eligible += sum(map(eligible, decisions))
        self.examples += sum(d.outcome == ACCEPTED and d.role != REFUSED for d in everything)
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


def eligible(decision: Decision) -> bool:
    """Whether the rules keep it, be it that the size of the training set does not."""
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
        *_outcomes("outcomes", statistics["outcomes"]),
        *_references(statistics.get("references")),
    ]
    return "\n".join(lines) + "\n"


def _outcomes(title: str, outcomes: dict[str, int]) -> list[str]:
    width = max(map(len, outcomes), default=0)
    return [title, *(f"  {reason:<{width}} {count:>10,}" for reason, count in outcomes.items())]


def _references(told: dict[str, Any] | None) -> list[str]:
    """What became of the references that were candidates; they are in no figure above it but the examples."""
    if told is None:
        return []
    counts = {
        "candidates": told["candidates"],
        "with a value": told["with_value"],
        "eligible": told["eligible"],
        "accepted": told["accepted"],
        "prompts without one": told["without_reference"],
        "not scored": told["not_scored"],
    }
    return [
        "",
        *_outcomes("references, which no model drew and no rate above counts", counts),
        *_outcomes("outcomes of references", told["outcomes"]),
    ]


def _pairs(statistics: dict[str, Any]) -> list[str]:
    """A line for the examples, where they are not the completions: a pair is one, and a reference is none."""
    if statistics["examples"] == statistics["accepted"] and "references" not in statistics:
        return []
    return [f"examples               {statistics['examples']:>10,}   a pair is one"]


def _percent(share: float | None) -> str:
    return "  none" if share is None else f"{share:6.1%}"
