"""Orders of a prompt's completions: by one scorer's value, or by the votes of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from winnow.selection.candidates import Candidate


class Order(Protocol):
    """Which of a prompt's completions are better than which."""

    def valued(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that can be ordered."""
        ...

    def best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best first; of equals the lowest sample."""
        ...

    def worst_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The worst first; of equals the lowest sample."""
        ...

    def better(self, one: Candidate, other: Candidate) -> bool:
        """Whether the first is better, and not just as good."""
        ...


class ByValue:
    """By one scorer's value: the lowest of an error, the highest of a verdict or a reward."""

    def __init__(self, scorer: str) -> None:
        self._scorer = scorer

    def valued(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that have a value."""
        return [each for each in candidates if each.quality(self._scorer) is not None]

    def best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The best value first."""
        return sorted(candidates, key=lambda each: (-self._value(each), each.sample))

    def worst_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The worst value first."""
        return sorted(candidates, key=lambda each: (self._value(each), each.sample))

    def better(self, one: Candidate, other: Candidate) -> bool:
        """Whether its value is better."""
        return self._value(one) > self._value(other)

    def _value(self, candidate: Candidate) -> float:
        value = candidate.quality(self._scorer)
        assert value is not None
        return value


class ByVotes:
    """By the votes of several scorers, ties by mean rank, and those that are left by sample.

    Each voter has one vote for the best and one for the worst of the completions that it is asked about;
    where several tie for it, they share the vote in equal parts. The order is by votes; completions of
    equally many (most have none) are ordered by their mean rank over the voters, where those that tie
    share the mean of their ranks. `better` is by mean rank alone: votes name an end, not an order.

    A completion to which a voter gave no value is not ordered: a failed judge must decide nothing.

    Args:
        voters: the scorers' names.
        prompt: all of a prompt's completions that are to be ordered, over which ranks are counted.
    """

    def __init__(self, voters: Sequence[str], prompt: Sequence[Candidate]) -> None:
        self._voters = voters
        self._rank: dict[int, Fraction] = {}
        known = self.valued(prompt)
        for voter in voters:
            qualities = Counter(self._value(each, voter) for each in known)
            above, ranks = 0, {}
            for quality in sorted(qualities, reverse=True):
                ranks[quality] = above + Fraction(qualities[quality] - 1, 2)
                above += qualities[quality]
            for each in known:
                self._rank[each.index] = (
                    self._rank.get(each.index, Fraction(0)) + ranks[self._value(each, voter)]
                )

    def valued(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those to which every voter gave a value."""
        return [each for each in candidates if all(each.quality(v) is not None for v in self._voters)]

    def best_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The most votes for the best first."""
        votes = self._votes(candidates, sign=1)
        return sorted(candidates, key=lambda c: (-votes[c.index], self._rank[c.index], c.sample))

    def worst_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The most votes for the worst first."""
        votes = self._votes(candidates, sign=-1)
        return sorted(candidates, key=lambda c: (-votes[c.index], -self._rank[c.index], c.sample))

    def better(self, one: Candidate, other: Candidate) -> bool:
        """Whether its mean rank is better."""
        return self._rank[one.index] < self._rank[other.index]

    def _votes(self, candidates: Sequence[Candidate], sign: int) -> dict[int, Fraction]:
        votes = {each.index: Fraction(0) for each in candidates}
        for voter in self._voters if candidates else ():
            end = max(sign * self._value(each, voter) for each in candidates)
            named = [each.index for each in candidates if sign * self._value(each, voter) == end]
            for index in named:
                votes[index] += Fraction(1, len(named))
        return votes

    def _value(self, candidate: Candidate, voter: str) -> float:
        value = candidate.quality(voter)
        assert value is not None
        return value
