"""A reward for answers that are right and short."""

from __future__ import annotations

from winnow.errors import UserError
from winnow.scoring import Score, build


class Brevity:
    """Correctness with DAPO's soft overlong punishment (arXiv 2503.14476, section 3.4).

    A wrong answer is worth 0. A right one is worth 1 up to `target` characters, less in a straight
    line beyond it, and nothing from `limit` on, where it does not pass either.

    Args:
        target: the length in characters that costs nothing.
        limit: the length in characters that is worth nothing.
    """

    version = 1
    measures = "reward"

    def __init__(self, target: int, limit: int) -> None:
        if not 0 < target < limit:
            raise UserError(
                "Brevity", f"target {target}, limit {limit}", "0 < target < limit", "correct the options"
            )
        self.target, self.limit = target, limit
        self.correct = build("exact_answer")

    def score(self, text: str, reference: str | None) -> Score:
        """Score a completion's text against its prompt's reference."""
        verdict = self.correct.score(text, reference)
        if not verdict.passed:
            return Score(verdict.value, False, verdict.detail)
        over = (len(text) - self.target) / (self.limit - self.target)
        value = 1.0 - min(max(over, 0.0), 1.0)
        return Score(value, value > 0, f"{len(text)} characters")
