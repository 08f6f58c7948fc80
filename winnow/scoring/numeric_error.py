"""numeric_error: how far the stated number is from the reference."""

from __future__ import annotations

import math
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import extract_answer, extract_reference, parse_number
from winnow.scoring.score import Measure, Score


class NumericError:
    """Value |prediction − reference|; passed when it is at most `tolerance`.

    Args:
        tolerance: the largest error that passes.

    A completion without a readable number has no value: it is counted as a parse failure and
    enters no mean.
    """

    name: ClassVar[str] = "numeric_error"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "error"

    def __init__(self, tolerance: float = 0.0) -> None:
        if not isinstance(tolerance, int | float) or not tolerance >= 0:
            raise UserError(
                "numeric_error", f"tolerance {tolerance!r}", "a number of at least 0", "correct the option"
            )
        self._tolerance = tolerance

    def score(self, text: str, reference: str | None) -> Score:
        """Read the number in `text` and compare it with the one in `reference`."""
        if reference is None:
            return Score(None, False, "the prompt has no reference")
        expected = parse_number(extract_reference(reference))
        if expected is None or not math.isfinite(expected):
            return Score(None, False, "the reference is not a number")
        answer = extract_answer(text)
        if answer is None:
            return Score(None, False, "no answer found")
        predicted = parse_number(answer)
        if predicted is None or not math.isfinite(predicted):
            return Score(None, False, f"not a number: {answer[:80]}")
        error = abs(predicted - expected)
        return Score(error, error <= self._tolerance, answer)
