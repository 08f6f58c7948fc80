"""The completions of a prompt that a strategy chooses among, and what it proposes to keep."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from winnow.errors import UserError
from winnow.records import is_reference
from winnow.scoring import measure

BEHIND_ALL = sys.maxsize
"""In place of a reference's sample, which it has not: of equals, what was drawn comes first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion that no filter has taken.

    Attributes:
        index: its place among the prompt's completions.
        row: the scored completion.
    """

    index: int
    row: Mapping[str, Any]

    @property
    def sample(self) -> int:
        """Which of the prompt's samples it is; a reference comes behind them all."""
        return BEHIND_ALL if is_reference(self.row) else int(self.row["sample"])

    @property
    def text(self) -> str:
        """What was drawn."""
        return str(self.row["text"])

    def score(self, scorer: str) -> Mapping[str, Any]:
        """What a scorer said of it.

        Raises:
            UserError: that scorer said nothing.
        """
        return score_of(self.row, scorer)

    def quality(self, scorer: str) -> float | None:
        """The scorer's value with the sign that makes more better; None where there is none."""
        value = self.score(scorer)["value"]
        return None if value is None else -float(value) if measure(scorer) == "error" else float(value)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An example that a strategy would keep: one completion, or the chosen and the rejected of a pair."""

    members: tuple[Candidate, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What a strategy says of a prompt.

    Attributes:
        proposals: what it would keep, in the order in which it would.
        reasons: why not, by index, for every other candidate.
        most: keep at most so many; None keeps all.
        beyond: the reason of what comes after.
    """

    proposals: list[Proposal]
    reasons: dict[int, str] = field(default_factory=dict)
    most: int | None = None
    beyond: str = ""


def score_of(row: Mapping[str, Any], scorer: str) -> Mapping[str, Any]:
    """A completion's score by that scorer.

    Raises:
        UserError: there is none.
    """
    score: Mapping[str, Any] | None = row["scores"].get(scorer)
    if score is None:
        raise UserError(
            f"completion {row['id']}",
            f"no score of {scorer!r} (it has {', '.join(row['scores']) or 'none'})",
            "the scorer that the selection uses",
            "add it to the scorers, or select by another",
        )
    return score


def all_for(candidates: Iterable[Candidate], reason: str) -> dict[int, str]:
    """One reason for all of these."""
    return {candidate.index: reason for candidate in candidates}
