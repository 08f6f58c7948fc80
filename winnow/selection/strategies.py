"""The strategies: which of a prompt's completions are kept, before duplicates and limits."""

from __future__ import annotations

from collections.abc import Sequence

from winnow.scoring import measure
from winnow.selection.answer_classes import answer_class, majority
from winnow.selection.candidates import Candidate, Choice, Proposal, all_for
from winnow.selection.voting import Order

STRATEGIES = ("correct", "best", "min_error", "worst", "best_worst", "top_k", "majority")
BY_VOTES = ("best", "worst", "best_worst")
"""Strategies by which several scorers can vote."""
PAIR_STRATEGIES = ("best_worst",)
"""Strategies that keep a chosen and a rejected completion."""


def correct(candidates: Sequence[Candidate], scorer: str) -> Choice:
    """All that passed."""
    passed = [each for each in candidates if each.score(scorer)["passed"]]
    return Choice(_each(passed, "correct"), all_for(candidates, "did not pass"))


def best(candidates: Sequence[Candidate], order: Order, scorer: str) -> Choice:
    """The best one; of a verdict, one that passed."""
    return _first(
        candidates, order.best_first(_of_verdict(order.valued(candidates), scorer, True)), order, "best"
    )


def worst(candidates: Sequence[Candidate], order: Order, scorer: str) -> Choice:
    """The worst one; of a verdict, one that did not pass."""
    ranked = order.worst_first(_of_verdict(order.valued(candidates), scorer, False))
    return _first(candidates, ranked, order, "worst")


def min_error(candidates: Sequence[Candidate], order: Order, scorer: str, max_error: float | None) -> Choice:
    """The one of the lowest error, if it is at most `max_error`."""
    ranked = order.best_first(order.valued(candidates))
    choice = _first(candidates, ranked, order, "min_error")
    if max_error is None or not ranked or ranked[0].score(scorer)["value"] <= max_error:
        return choice
    return Choice([], choice.reasons | {ranked[0].index: f"error above {max_error:g}"})


def top_k(candidates: Sequence[Candidate], order: Order, scorer: str, k: int) -> Choice:
    """The k best, duplicates not counted; of a verdict, such as passed."""
    valued = order.valued(candidates)
    ranked = order.best_first(_of_verdict(valued, scorer, True))
    beyond = f"not among the prompt's {k} best"
    reasons = all_for(candidates, "has no value") | all_for(valued, beyond)
    return Choice(_each(ranked, "top_k"), reasons, k, beyond)


def by_majority(candidates: Sequence[Candidate], scorer: str) -> Choice:
    """All whose answer is the one that most state; ties go to the class with the earliest sample."""
    kind = measure(scorer)
    classes = {each.index: answer_class(each.score(scorer), kind) for each in candidates}
    found = majority(classes[each.index] for each in candidates)
    stated = [each for each in candidates if classes[each.index] is not None]
    if found is None:
        return Choice([], all_for(candidates, "states no answer"))
    members = [each for each in stated if classes[each.index] == found.winner]
    reasons = all_for(candidates, "states no answer") | all_for(stated, "not the majority's answer")
    return Choice(_each(members, "majority, a tie" if found.tied else "majority"), reasons)


def _first(candidates: Sequence[Candidate], ranked: Sequence[Candidate], order: Order, name: str) -> Choice:
    valued = order.valued(candidates)
    reasons = all_for(candidates, "has no value") | all_for(valued, f"not the prompt's {name}")
    return Choice(_each(ranked[:1], name), reasons)


def _of_verdict(candidates: Sequence[Candidate], scorer: str, passed: bool) -> Sequence[Candidate]:
    if measure(scorer) != "verdict":
        return candidates
    return [each for each in candidates if bool(each.score(scorer)["passed"]) == passed]


def _each(kept: Sequence[Candidate], reason: str) -> list[Proposal]:
    return [Proposal((each,), reason) for each in kept]
