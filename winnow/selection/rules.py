"""The rules of selection: decisions over one prompt's completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from winnow.errors import UserError, closest
from winnow.records import NOT_GENERATED, is_reference
from winnow.scoring import measure
from winnow.selection import references, strategies
from winnow.selection.candidates import Candidate, Choice, Proposal, score_of
from winnow.selection.decision import ACCEPTED, CHOSEN, NOT_DRAWN, OVER_BUDGET, REFUSED, REJECTED, Decision
from winnow.selection.filters import Filters
from winnow.selection.near_duplicates import NearDuplicates
from winnow.selection.pairs import PAIR_MODES, draw_key, pair
from winnow.selection.strategies import BY_VOTES, STRATEGIES
from winnow.selection.voting import ByValue, ByVotes, Order

__all__ = [
    "ACCEPTED", "NOT_DRAWN", "OVER_BUDGET", "REJECTED", "STRATEGIES",
    "Decision", "Filters", "Rules", "draw_key",
]  # fmt: skip

Screen = Callable[[Mapping[str, Any]], Decision | None]
"""Why a completion is rejected for what is known beyond its prompt's scores, or None."""


@dataclass(frozen=True)
class Rules:
    """What is kept of a prompt's completions. docs/selection.md has the order in which all this applies.

    Attributes:
        strategy: one of `STRATEGIES`.
        scorer: whose score decides, and whose `passed` counts.
        max_error: for `min_error`.
        max_per_prompt: at most so many examples, in the order of the strategy; None keeps all.
        deduplicate: drop completions whose text stood before in the same prompt.
        pass_rate: keep prompts whose share of passed completions lies in [low, high]: it leaves
            out what is too easy or too hard.
        filters: what a completion must be like, whatever its score.
        voters: scorers that vote, in place of `scorer`'s own value.
        top_k: for `top_k`.
        pair_mode: for `best_worst`: whether the rejected one is the worst, or a random worse one.
        min_margin: for `best_worst`: the least difference of the scorer's values.
        seed: of the random ones.
        include_reference: a prompt's reference is one more candidate.

    Raises:
        UserError: an unknown strategy or scorer, a value out of its range, or parts that do not fit.
    """

    strategy: str = "correct"
    scorer: str = "exact_answer"
    max_error: float | None = None
    max_per_prompt: int | None = None
    deduplicate: bool = True
    pass_rate: tuple[float, float] = (0.0, 1.0)
    filters: Filters = field(default_factory=Filters)
    voters: tuple[str, ...] = ()
    top_k: int | None = None
    pair_mode: str = PAIR_MODES[0]
    min_margin: float | None = None
    seed: int = 0
    include_reference: bool = False

    def __post_init__(self) -> None:
        _one_of("strategy", self.strategy, STRATEGIES)
        _one_of("pair_mode", self.pair_mode, PAIR_MODES)
        kind = measure(self.scorer)
        if self.strategy == "min_error" and kind != "error":
            raise UserError(
                "selection: strategy",
                f"min_error by {self.scorer!r}, whose value is a {kind}",
                "a scorer whose value is an error, as numeric_error",
                "choose the scorer numeric_error, or the strategy correct",
            )
        if self.strategy == "majority" and kind == "reward":
            raise UserError(
                "selection: strategy",
                f"majority by {self.scorer!r}, whose value is a reward",
                "a scorer that reads an answer, as exact_answer: its answers are counted",
                "choose such a scorer, or the strategy best",
            )
        if (self.strategy == "top_k") != (self.top_k is not None):
            raise UserError(
                "selection: top_k",
                f"{self.top_k} with the strategy {self.strategy}",
                "how many to keep of each prompt, with the strategy top_k and with no other",
                "give top_k, or choose the strategy top_k",
            )
        if self.min_margin is not None and not self.min_margin >= 0:
            raise UserError("selection: min_margin", f"{self.min_margin}", "at least 0", "correct it")
        if self.max_error is not None and math.isnan(self.max_error):
            raise UserError("selection: max_error", f"{self.max_error}", "a number", "correct it")
        low, high = self.pass_rate
        if not 0.0 <= low <= high <= 1.0:
            raise UserError(
                "selection: pass_rate", f"[{low}, {high}]", "0 ≤ low ≤ high ≤ 1", "correct the band"
            )
        self._check_voters()
        if self.include_reference:
            references.check(self.strategy, (self.scorer, *self.voters), self.filters)

    def check_idle(self) -> None:
        """Refuse values that the strategy does not look at: who gives one believes in a bound that is none.

        Raises:
            UserError: there is one.
        """
        for key, value, needed in (
            ("max_error", self.max_error, "min_error"),
            ("min_margin", self.min_margin, "best_worst"),
            ("pair_mode", None if self.pair_mode == PAIR_MODES[0] else self.pair_mode, "best_worst"),
        ):
            if value is not None and self.strategy != needed:
                raise UserError(
                    f"selection: {key}",
                    f"{value} with the strategy {self.strategy}, which does not look at it",
                    f"the strategy {needed} with it",
                    f"choose the strategy {needed}, or leave {key} out",
                )

    def _check_voters(self) -> None:
        if self.voters and self.strategy not in BY_VOTES:
            raise UserError(
                "selection: voters",
                f"{', '.join(self.voters)} with the strategy {self.strategy}",
                f"a strategy of {', '.join(BY_VOTES)}",
                "choose one of these, or leave the voters out",
            )
        if len(set(self.voters)) < len(self.voters):
            raise UserError(
                "selection: voters", ", ".join(self.voters), "each voter once", "leave out the second"
            )
        for voter in self.voters:
            measure(voter)

    def decide(
        self,
        completions: Sequence[Mapping[str, Any]],
        screen: Screen | None = None,
        near: NearDuplicates | None = None,
    ) -> list[Decision]:
        """One decision for each completion of a prompt, in order.

        Args:
            completions: the prompt's scored completions; the last may be its reference.
            screen: rejects for what is known beyond the prompt; asked of those alone that its filters leave.
            near: rejects near-duplicates, and remembers what is kept.
        """
        decisions = self._filtered(completions, screen)
        candidates = [Candidate(i, row) for i, row in enumerate(completions) if decisions[i] is None]
        candidates.sort(key=lambda each: each.sample)
        choice = self._choose(candidates, near)
        for index, reason in choice.reasons.items():
            decisions[index] = Decision(REJECTED, reason)
        for index, decision in self._admitted(choice, near).items():
            decisions[index] = decision
        return [decision for decision in decisions if decision is not None]

    def _filtered(
        self, completions: Sequence[Mapping[str, Any]], screen: Screen | None
    ) -> list[Decision | None]:
        """What the filters reject; None for what they leave."""
        drawn = [
            row for row in completions if not is_reference(row) and row["finish_reason"] not in NOT_GENERATED
        ]
        of_prompt = self.filters.of_prompt(drawn) or self._outside_band(drawn)
        decisions: list[Decision | None] = []
        for row in completions:
            if is_reference(row):
                reason = of_prompt
            elif row["finish_reason"] in NOT_GENERATED:
                decisions.append(Decision(NOT_DRAWN, row["finish_reason"]))
                continue
            else:
                reason = of_prompt or self.filters.of_completion(row)
            found = Decision(REJECTED, reason) if reason else None
            decisions.append(screen(row) if found is None and screen else found)
        return decisions

    def _outside_band(self, drawn: Sequence[Mapping[str, Any]]) -> str | None:
        low, high = self.pass_rate
        passed = sum(score_of(row, self.scorer)["passed"] for row in drawn)
        in_band = bool(drawn) and low <= passed / len(drawn) <= high
        return None if in_band else "prompt's pass rate outside the band"

    def _choose(self, candidates: list[Candidate], near: NearDuplicates | None) -> Choice:
        """What the strategy says of the candidates."""
        order: Order = ByVotes(self.voters, candidates) if self.voters else ByValue(self.scorer)
        match self.strategy:
            case "correct":
                return strategies.correct(candidates, self.scorer)
            case "best":
                return strategies.best(candidates, order, self.scorer)
            case "worst":
                return strategies.worst(candidates, order, self.scorer)
            case "min_error":
                return strategies.min_error(candidates, order, self.scorer, self.max_error)
            case "top_k":
                return strategies.top_k(candidates, order, self.scorer, self.top_k or 1)
            case "majority":
                return strategies.by_majority(candidates, self.scorer)

        def alike(one: Candidate, other: Candidate) -> bool:
            return one.text == other.text or bool(near and near.alike(one.text, other.text))

        return pair(candidates, order, self.scorer, self.pair_mode, self.min_margin, alike, self.seed)

    def _admitted(self, choice: Choice, near: NearDuplicates | None) -> dict[int, Decision]:
        """What becomes of the proposals, in order: duplicates and what is over a limit go."""
        found: dict[int, Decision] = {}
        kept: list[str] = []
        ids: list[str] = []
        for proposal in choice.proposals:
            first, *others = proposal.members
            refusal = self._refuse(first.text, kept, choice, near)
            if refusal is None:
                found |= _accepted(proposal, len(kept))
                kept.append(first.text)
                ids.append(first.row["id"])
                continue
            found[first.index] = refusal
            found |= {each.index: Decision(REJECTED, "its pair's chosen was rejected") for each in others}
        if near:
            near.remember(zip(ids, kept, strict=True))
        return found

    def _refuse(
        self, text: str, kept: list[str], choice: Choice, near: NearDuplicates | None
    ) -> Decision | None:
        """Why a proposed completion is not kept, or None."""
        if choice.most is not None and len(kept) >= choice.most:
            return Decision(REJECTED, choice.beyond)
        if self.deduplicate and text in kept:
            return Decision(REJECTED, "duplicate within its prompt")
        if near and any(near.alike(text, other) for other in kept):
            return Decision(REJECTED, "near-duplicate within its prompt")
        if self.max_per_prompt is not None and len(kept) >= self.max_per_prompt:
            return Decision(REJECTED, f"over max_per_prompt = {self.max_per_prompt}")
        other = near.before(text) if near else None
        if other is not None:
            return Decision(REJECTED, "near-duplicate of another prompt's", f"of {other}")
        return None


def _accepted(proposal: Proposal, number: int) -> dict[int, Decision]:
    if len(proposal.members) == 1:
        return {proposal.members[0].index: Decision(ACCEPTED, proposal.reason)}
    return {
        each.index: Decision(ACCEPTED, f"{proposal.reason}, {role}", pair=number, role=role)
        for each, role in zip(proposal.members, (CHOSEN, REFUSED), strict=True)
    }


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(
            f"selection: {key}",
            f"{value!r} is unknown{closest(value, known)}",
            "one of " + ", ".join(known),
            "correct the name",
        )
