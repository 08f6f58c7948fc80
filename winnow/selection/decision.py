"""What became of a completion, in the words of the ledger."""

from __future__ import annotations

from dataclasses import dataclass

ACCEPTED, REJECTED, NOT_DRAWN = "accepted", "rejected", "not_generated"
OVER_BUDGET = "over num_examples"
"""Begins the reason of what the rules would keep and the size of the training set did not."""
CHOSEN, REFUSED = "chosen", "rejected"
"""The roles in a pair. Both members are accepted: they become training data."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one completion.

    Attributes:
        outcome: `accepted`, `rejected` or `not_generated`.
        reason: why, in words that can be counted.
        detail: what else is known of this one, such as the record that it shares text with.
        pair: the index of its pair within the prompt, where it is a member of one.
        role: `chosen` or `rejected` in that pair.
    """

    outcome: str
    reason: str
    detail: str | None = None
    pair: int | None = None
    role: str | None = None
