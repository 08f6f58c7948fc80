"""exact_answer: the stated answer equals the reference."""

from __future__ import annotations

import functools
from typing import ClassVar

from winnow.scoring.answers import extract_answer, extract_reference, normalize
from winnow.scoring.score import Measure, Score


class ExactAnswer:
    """Value 1 and passed when the normalised answers are equal, else 0.

    A completion that states no answer, or a prompt without a reference, does not pass.
    """

    name: ClassVar[str] = "exact_answer"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "verdict"

    def score(self, text: str, reference: str | None) -> Score:
        """Compare the answer in `text` with the one in `reference`."""
        if reference is None:
            return Score(None, False, "the prompt has no reference")
        answer = extract_answer(text)
        if answer is None:
            return Score(0.0, False, "no answer found")
        passed = normalize(answer) == _expected(reference)
        return Score(1.0 if passed else 0.0, passed, answer)


@functools.lru_cache(maxsize=1024)
def _expected(reference: str) -> str:
    # The samples of a prompt follow one another, and share its reference.
    return normalize(extract_reference(reference))
