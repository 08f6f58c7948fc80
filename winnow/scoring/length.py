"""length: whether a text is neither too short nor too long."""

from __future__ import annotations

from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.score import Measure, Score

UNITS = ("words", "characters")


class Length:
    """Value: how far the text's length lies outside of a band, 0 within it; passed when it is 0.

    Args:
        low, high: the band, both ends within it.
        unit: words or characters.
    """

    name: ClassVar[str] = "length"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "error"

    def __init__(self, low: int = 1, high: int | None = None, unit: str = "words") -> None:
        if unit not in UNITS:
            raise UserError("unit", f"{unit!r}", " or ".join(UNITS), "correct the option")
        whole = isinstance(low, int) and isinstance(high, int | None)
        if not whole or not 0 <= low <= (low if high is None else high):
            raise UserError("low and high", f"{low!r} and {high!r}", "0 ≤ low ≤ high", "correct the options")
        self._low, self._high, self._unit = low, high, unit

    def score(self, text: str, reference: str | None) -> Score:
        """Measure `text`."""
        length = len(text.split()) if self._unit == "words" else len(text)
        over = 0 if self._high is None else length - self._high
        outside = max(self._low - length, over, 0)
        return Score(float(outside), not outside, f"{length} {self._unit}")
