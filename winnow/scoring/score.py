"""What a scorer is, and what it says of a completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Measure = Literal["verdict", "error", "reward"]
"""What a scorer's value is: 1 or 0 for right or wrong; a distance, where less is better; or a
reward, where more is better."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one completion.

    Attributes:
        value: a finite number, or None where there is none (then `detail` has the reason).
        passed: whether the completion counts as correct.
        detail: what was extracted, or why there is no value.
    """

    value: float | None
    passed: bool
    detail: str


class Scorer(Protocol):
    """A verifier. Its constructor's keyword arguments are its options in the config."""

    @property
    def name(self) -> str:
        """Under which its scores stand in the records: its name in the config."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever a score may change."""
        ...

    @property
    def measures(self) -> Measure:
        """What its value is."""
        ...

    def score(self, text: str, reference: str | None) -> Score:
        """Score a completion's text against its prompt's reference."""
        ...
