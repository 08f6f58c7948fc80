"""repetition: how much of a text says again what it has said."""

from __future__ import annotations

from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.score import Measure, Score


class Repetition:
    """Value 1 − distinct n-grams / n-grams of the text's words; passed when it is at most `most`.

    Args:
        ngram: words of an n-gram.
        most: the largest share of repeated n-grams that passes.

    The measure is rep-n of Welleck et al. 2020 (arXiv 1908.04319, §6). A text of fewer words than an n-gram
    repeats nothing.
    """

    name: ClassVar[str] = "repetition"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "error"

    def __init__(self, ngram: int = 4, most: float = 0.3) -> None:
        if not isinstance(ngram, int) or ngram < 1:
            raise UserError("ngram", f"{ngram!r}", "a whole number of at least 1", "correct the option")
        if not isinstance(most, int | float) or not 0 <= most <= 1:
            raise UserError("most", f"{most!r}", "a share between 0 and 1", "correct the option")
        self._ngram, self._most = ngram, most

    def score(self, text: str, reference: str | None) -> Score:
        """Count the n-grams of `text`."""
        words = text.split()
        count = len(words) - self._ngram + 1
        if count < 1:
            return Score(0.0, True, f"{len(words)} words")
        distinct = len(set(zip(*(words[start:] for start in range(self._ngram)), strict=False)))
        share = 1 - distinct / count
        return Score(share, share <= self._most, f"{count - distinct} of {count} {self._ngram}-grams again")
