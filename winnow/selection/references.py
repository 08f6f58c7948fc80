"""A prompt's reference as one more candidate beside its completions, by what the reward models gave to it.

No model drew it: its row has no sample, seed, model, step, alpha or count of tokens, and it never counts as
a completion. The ledger and the statistics account for references apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from winnow.errors import UserError
from winnow.records import NOT_GENERATED, reference_id
from winnow.scoring import measure
from winnow.selection.decision import ACCEPTED, Decision
from winnow.selection.filters import Filters
from winnow.selection.groups import Group
from winnow.selection.ledger import eligible

STRATEGIES = ("best", "worst", "best_worst", "top_k")
"""Those that order by value or votes, in which a reference can take part."""
KEY = "selection: include_reference"
SCORE_THEM = "score with reward models, each with score_references: true, or set include_reference: false"


def check(strategy: str, scorers: Sequence[str], filters: Filters) -> None:
    """Refuse rules that cannot be applied to a reference.

    Args:
        strategy: of the rules.
        scorers: those that decide: the selection's, and its voters.
        filters: of the rules.

    Raises:
        UserError: the strategy orders nothing, a scorer gives verdicts, or lengths are bounded.
    """
    if strategy not in STRATEGIES:
        raise UserError(
            KEY,
            f"true with the strategy {strategy}",
            f"a strategy that orders by value or votes: {', '.join(STRATEGIES)}",
            "choose one of these, or set include_reference: false",
        )
    for scorer in scorers:
        if measure(scorer) == "verdict":
            raise UserError(
                KEY,
                f"true, and {scorer!r} gives verdicts: a reference is what they are held against",
                "a scorer of rewards, and such voters, as reward_model",
                SCORE_THEM,
            )
    if filters.min_tokens is not None or filters.max_tokens is not None:
        raise UserError(
            KEY,
            "true with min_tokens or max_tokens: no model drew the reference, so its tokens were not counted",
            "no bound on the tokens of a completion",
            "leave the bounds out (a reward model's max_length bounds what it reads), or set "
            "include_reference: false",
        )


def with_references(groups: Iterable[Group]) -> Iterator[Group]:
    """Each group with its reference as a candidate, where it has one that was scored.

    Raises:
        UserError: completions that were scored without their references.
    """
    for group in groups:
        reference = _candidate(group)
        yield (
            group
            if reference is None
            else replace(
                group,
                completions=[_with_scores(row, reference["reference_scores"]) for row in group.completions],
                reference=reference,
            )
        )


def _with_scores(row: dict[str, Any], scores: dict[str, float | None]) -> dict[str, Any]:
    """A completion with the reference's scores that decide: another block's can differ in their digits."""
    return row | {"reference_scores": scores} if "reference_scores" in row else row


def _candidate(group: Group) -> dict[str, Any] | None:
    """The reference's row, or None: there is no reference, or nothing was drawn to score it beside."""
    if not group.prompt.reference:
        return None
    beside = next((row for row in group.completions if row.get("reference_scores")), None)
    if beside is None:
        _refuse_unscored(group)
        return None
    values = beside["reference_scores"]
    return {
        "id": reference_id(group.prompt.id),
        "prompt_id": group.prompt.id,
        "text": group.prompt.reference,
        "is_reference": True,
        "scores": {name: _score(values.get(name), score) for name, score in beside["scores"].items()},
        "reference_scores": values,
    }


def _score(value: float | None, beside: dict[str, Any]) -> dict[str, Any]:
    """A score of the reference, by the same version; of the records it has the value alone."""
    return {"value": value, "passed": None, "detail": "", "version": beside["version"]}


def _refuse_unscored(group: Group) -> None:
    drawn = [row for row in group.completions if row["finish_reason"] not in NOT_GENERATED]
    if drawn:
        raise UserError(
            f"completion {drawn[0]['id']}",
            "no 'reference_scores' beside it: the reference of its prompt was not scored",
            "what the scorers say of the reference, for selection to include it",
            SCORE_THEM,
        )


@dataclass
class References:
    """The ledger of references: each prompt's is a candidate with one outcome, or there is none, and why.

    Attributes:
        prompts: seen.
        without: prompts that have no reference.
        unscored: prompts whose reference was not scored, for none of their completions was drawn.
        with_value: candidates to which every scorer that decides gave a value.
        eligible: those that the rules keep.
        reasons: outcomes with their reasons.
    """

    prompts: int = 0
    without: int = 0
    unscored: int = 0
    with_value: int = 0
    eligible: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def enter(self, group: Group, decision: Decision | None, scorers: Sequence[str]) -> None:
        """Account for the reference of a prompt.

        Args:
            group: the prompt with its candidates.
            decision: what became of its reference; None where that is no candidate.
            scorers: those that decide.
        """
        self.prompts += 1
        if group.reference is None or decision is None:
            self.without += not group.prompt.reference
            self.unscored += bool(group.prompt.reference)
            return
        scores = group.reference["scores"]
        self.with_value += all(name in scores and scores[name]["value"] is not None for name in scorers)
        self.eligible += eligible(decision)
        self.reasons[decision.outcome, decision.reason] += 1

    def statistics(self, scorers: Sequence[str]) -> dict[str, Any]:
        """The totals, checked: candidates and prompts without one sum to the prompts.

        Raises:
            UserError: they do not, or no reference has a value by which it could be ordered.
        """
        candidates = sum(self.reasons.values())
        if candidates + self.without + self.unscored != self.prompts:
            raise UserError(
                "ledger of references",
                f"{candidates} candidates, {self.without + self.unscored} prompts without one",
                f"{self.prompts} prompts together",
                "report this: a reference was lost or counted twice",
            )
        if candidates and not self.with_value:
            named = ", ".join(dict.fromkeys(scorers))
            raise UserError(
                KEY,
                f"true, and {named} gave none of {candidates:,} references a value",
                "references that every scorer that decides has scored (and that are not all too long for it)",
                SCORE_THEM,
            )
        return {
            "candidates": candidates,
            "without_reference": self.without,
            "not_scored": self.unscored,
            "with_value": self.with_value,
            "eligible": self.eligible,
            "accepted": sum(count for (outcome, _), count in self.reasons.items() if outcome == ACCEPTED),
            "outcomes": {
                f"{outcome}: {reason}": count for (outcome, reason), count in sorted(self.reasons.items())
            },
        }
