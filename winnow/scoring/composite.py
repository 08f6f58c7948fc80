"""weighted_sum and all_of: one score of several others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.score import Measure, Score


class WeightedSum:
    """Value Σ weight · value of other scorers; none where one of these has none.

    Args:
        weights: scorer → weight; negative for what is an error.
        at_least: the sum that passes; where it is not given, all parts have to pass.
    """

    name: ClassVar[str] = "weighted_sum"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "reward"

    def __init__(self, weights: Mapping[str, float], at_least: float | None = None) -> None:
        named = isinstance(weights, Mapping) and _names(list(weights))
        if not named or not all(map(_finite, weights.values())):
            raise UserError("weights", f"{weights!r}", "a number for each scorer", "correct the option")
        if at_least is not None and not _finite(at_least):
            raise UserError("at_least", f"{at_least!r}", "a number", "correct the option")
        self._weights, self._at_least = dict(weights), at_least
        self.parts = list(weights)

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The weighted sum of these scores."""
        total = 0.0
        for name, weight in self._weights.items():
            value = scores[name].value
            if value is None:
                return Score(None, False, f"{name} has no value: {scores[name].detail}")
            total += weight * value
        if not math.isfinite(total):
            return Score(None, False, f"the sum is {total}")
        passed = (
            all(score.passed for score in scores.values())
            if self._at_least is None
            else total >= self._at_least
        )
        return Score(total, passed, " ".join(f"{name}={scores[name].value:g}" for name in self._weights))


class AllOf:
    """Value 1 and passed when all of some scorers passed, else 0; none where one of them has none.

    Args:
        scorers: their names.
    """

    name: ClassVar[str] = "all_of"
    version: ClassVar[int] = 2
    measures: ClassVar[Measure] = "verdict"

    def __init__(self, scorers: Sequence[str]) -> None:
        if not _names(scorers):
            raise UserError("scorers", f"{scorers!r}", "a list of names", "correct the option")
        self.parts = list(scorers)

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """Whether all of these passed."""
        failed = [name for name in self.parts if not scores[name].passed]
        if not failed:
            return Score(1.0, True, "all passed")
        told = ", ".join(f"{name}: {scores[name].detail}" for name in failed)[:300]
        # What could not be read is no verdict, unless something else settles it.
        value = None if all(scores[name].value is None for name in failed) else 0.0
        return Score(value, False, told, _classes({name: scores[name] for name in failed}))


def _classes(failed: Mapping[str, Score]) -> str | None:
    """The class of what fails in the same way: the parts' classes, or the text of those without one."""
    if all(score.answer_class is None for score in failed.values()):
        return None
    return ", ".join(f"{name}: {score.answer_class or score.detail}" for name, score in failed.items())


def _names(value: object) -> bool:
    """Whether this is a list of texts, at least one."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, str) for each in value)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
