"""numeric_error: how far the stated number is from the reference."""

from __future__ import annotations

import functools
import math
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import extract_answer, extract_reference, parse_number
from winnow.scoring.score import Measure, Score, Unreferenced


class NumericError:
    """Value |prediction − reference|; passed when it is at most `tolerance`.

    Units, currency signs and thousands separators around the one number of an answer do not matter. Where
    one of both is a percentage and the other is not, the answer may mean itself, or itself on the reference's
    scale: the nearer counts.

    Args:
        tolerance: the largest error that passes.
        low, high: the scale's ends: a prediction outside of them is no prediction.

    A completion without a readable number on the scale has no value: it is counted as a parse failure and
    enters no mean.
    """

    name: ClassVar[str] = "numeric_error"
    version: ClassVar[int] = 3
    measures: ClassVar[Measure] = "error"

    def __init__(self, tolerance: float = 0.0, low: float | None = None, high: float | None = None) -> None:
        if not _is_number(tolerance) or not tolerance >= 0:
            raise UserError("tolerance", f"{tolerance!r}", "a number of at least 0", "correct the option")
        for key, end in (("low", low), ("high", high)):
            if end is not None and not _is_number(end):
                raise UserError(key, f"{end!r}", "a number", "correct the option")
        self._tolerance = tolerance
        self._low = -math.inf if low is None else low
        self._high = math.inf if high is None else high
        if self._low >= self._high:
            raise UserError("low and high", f"{low} and {high}", "low < high", "correct the options")

    def score(self, text: str, reference: str | None) -> Score:
        """Read the number in `text` and compare it with the one in `reference`."""
        if reference is None:
            return Unreferenced(None, False, "the prompt has no reference")
        expected = _expected(reference)
        if expected is None:
            return Unreferenced(None, False, f"the reference is not a number: {reference[-80:]!r}")
        answer = extract_answer(text)
        if answer is None:
            return Score(None, False, "no answer found")
        predicted = parse_number(answer)
        if predicted is None or not math.isfinite(predicted):
            return Score(None, False, f"not a number: {answer[:80]}")
        number, percentage = expected
        if percentage != ("%" in answer):
            # On the reference's scale: of 50 %, 0.5 may be meant, and of 0.5, 50 %.
            other = predicted * 100 if percentage else predicted / 100
            predicted = min(predicted, other, key=lambda each: abs(each - number))
        error = abs(predicted - number)
        if not math.isfinite(error):
            return Score(None, False, f"not a number: {answer[:80]}")
        if not self._low <= predicted <= self._high:
            return Score(None, False, f"outside of [{self._low:g}, {self._high:g}]: {answer[:80]}")
        return Score(error, error <= self._tolerance, answer)


@functools.lru_cache(maxsize=1024)
def _expected(reference: str) -> tuple[float, bool] | None:
    """The reference's number, and whether it is a percentage; the samples of a prompt share it."""
    answer = extract_reference(reference)
    number = parse_number(answer)
    return None if number is None or not math.isfinite(number) else (number, "%" in answer)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
