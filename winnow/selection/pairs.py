"""Pairs of a prompt's completions: a chosen one, and a rejected one that is worse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from winnow.scoring import measure
from winnow.selection.candidates import Candidate, Choice, Proposal, all_for
from winnow.selection.voting import Order

PAIR_MODES = ("max_min", "max_random")
Alike = Callable[[Candidate, Candidate], bool]
"""Whether two completions are too much alike to be told apart."""


def draw_key(seed: int, completion: str) -> int:
    """A 64-bit key: the completions of the smallest keys are a seeded random subset, in any order."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{completion}".encode(), digest_size=8).digest(), "big")


def pair(
    candidates: Sequence[Candidate],
    order: Order,
    scorer: str,
    mode: str,
    min_margin: float | None,
    alike: Alike,
    seed: int,
) -> Choice:
    """The prompt's pair: the best completion, and the worst or a random one among those that are worse.

    Worse is worse by the order, by at least `min_margin` of the scorer's value, and not alike. Of a
    verdict the chosen one must have passed, and the rejected one must not.

    Args:
        candidates: the prompt's completions.
        order: which is better.
        scorer: in whose value the margin is; whose verdict counts where it is one.
        mode: `max_min` takes the worst for the rejected one, `max_random` any, seeded.
        min_margin: the least difference of values; None wants any difference.
        alike: pairs of such are none.
        seed: of `max_random`.
    """
    valued = order.valued(candidates)
    reasons = all_for(candidates, "has no value")
    # The reason of all that could have been in a pair, if there is none.
    if len(valued) < 2:
        return Choice([], reasons | all_for(valued, "no pair: nothing to compare with"))
    good, bad = list(valued), list(valued)
    if measure(scorer) == "verdict":
        good = [each for each in valued if each.score(scorer)["passed"]]
        bad = [each for each in valued if not each.score(scorer)["passed"]]
        if not good or not bad:
            return Choice([], reasons | all_for(valued, f"no pair: {'all' if good else 'none'} passed"))
    chosen = order.best_first(good)[0]
    worse = [each for each in bad if order.better(chosen, each)]
    if not worse:
        return Choice([], reasons | all_for(valued, "no pair: a tie"))
    apart = [each for each in worse if not alike(chosen, each)]
    if not apart:
        return Choice([], reasons | all_for(valued, "no pair: texts alike"))
    far = [each for each in apart if min_margin is None or _margin(chosen, each, scorer) >= min_margin]
    if not far:
        return Choice([], reasons | all_for(valued, f"no pair: margin below {min_margin:g}"))
    if mode == "max_min":
        rejected = order.worst_first(far)[0]
    else:
        rejected = min(far, key=lambda each: draw_key(seed, f"{each.row['id']}\0rejected"))
    reasons |= all_for(valued, "not in the prompt's pair")
    return Choice([Proposal((chosen, rejected), "best_worst")], reasons)


def _margin(chosen: Candidate, other: Candidate, scorer: str) -> float:
    """By how much the scorer's own value is better; minus infinity where it has none."""
    values = chosen.quality(scorer), other.quality(scorer)
    return float("-inf") if values[0] is None or values[1] is None else values[0] - values[1]
