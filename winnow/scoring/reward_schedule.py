"""Run all rows through a reward model, in smaller batches when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from winnow.scoring.reward_batches import Batch, Row, Shared, largest_pass, planned, rows_of

log = logging.getLogger(__name__)


class OutOfMemory(Exception):
    """A batch did not fit beside the model."""


Forward = Callable[[Batch], Iterable[tuple[int, float]]]
"""The index and reward of each row of a batch, pass by pass.

Raises:
    OutOfMemory: in any pass.
"""


class Schedule:
    """Batches within a budget that shrinks when it proves too large, and stays so.

    Attributes:
        name: the model's, for messages.
        budget: tokens of a pass, padding included.
        share: whether rows of a prompt share their prefix.
        rows_per_pass: at most so many; None for as many as the budget lets.
    """

    def __init__(self, name: str, budget: int, share: bool, rows_per_pass: int | None = None) -> None:
        self.name, self.budget = name, budget
        self.share, self.rows_per_pass = share, rows_per_pass
        self._told = False

    def run(self, rows: Sequence[Row], forward: Forward) -> dict[int, float | None]:
        """The reward of each row by its index; None for those that do not fit into memory alone."""
        rewards: dict[int, float | None] = {}
        apart: frozenset[int] = frozenset()
        while waiting := [row for row in rows if row.index not in rewards]:
            for batch in planned(waiting, self.budget, self.share, self.rows_per_pass, apart):
                if _completed(batch, forward, rewards):
                    continue
                tokens, count = largest_pass(batch)
                if count > 1:
                    self._halve(tokens)
                elif isinstance(batch, Shared):
                    # Whole rows keep no cache: what is too much beside one may do without.
                    apart |= {row.index for row in rows_of(batch)}
                else:
                    rewards[batch.rows[0].index] = None
                    continue
                break
        return rewards

    def _halve(self, tokens: int) -> None:
        before, self.budget = self.budget, max(min(self.budget, tokens) // 2, 1)
        if not self._told:
            log.warning(
                "%s: out of memory at %s tokens a batch; going on with %s (set batch_tokens to spare the "
                "attempt; it is halved again, silently, where that is too many)",
                self.name,
                f"{before:,}",
                f"{self.budget:,}",
            )
            self._told = True


def _completed(batch: Batch, forward: Forward, rewards: dict[int, float | None]) -> bool:
    """Run a batch, keeping what its passes give; False when memory runs out on the way."""
    try:
        for index, reward in forward(batch):
            rewards[index] = reward
    except OutOfMemory:
        return False
    return True
