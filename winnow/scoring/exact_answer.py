"""exact_answer: the stated answer equals the reference."""

from __future__ import annotations

import functools
import re
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import extract_answer, extract_reference, last_line, normalize
from winnow.scoring.score import Measure, Score, Unreferenced

ALONE = re.compile(r"\(?([a-z])\)?[.:]?")
"""A choice by its letter and nothing else, once normalised: ``b``, ``(b)``, ``b.``."""
CHOICE = re.compile(r"\(?([a-z])\)?(?:[.:)]+(?:\s.*)?)?", re.DOTALL)
"""The same, or with the choice's text behind it: ``b) paris``; not ``a cat``."""
SET = re.compile(r"\\(?:text|math)[a-z]*\s*\{([^{}]*)\}")
"""A part of a formula set as text or in another font: ``\\text{b}``, ``\\mathbf{b}``."""
MARKED = re.compile(r"(\*\*|__|[*_`$])(.+?)\1|\\\((.+?)\\\)", re.DOTALL)
"""A part marked as strong, as code or as a formula: ``**b**``, ``$b$``; not ``b*``, which is another name."""
LONGEST = 1000
"""Characters of an answer in which marks are looked for: many that are never closed take long."""


class ExactAnswer:
    """Value 1 and passed when the normalised answers are equal, else 0.

    A reference of one letter is a choice: the answers ``(B)``, ``b.``, ``B) Paris``, ``**B**`` and
    ``\\text{B}`` are ``B`` then. A completion that states no answer does not pass.

    Args:
        last_line: where no answer is marked, the last line that is not empty is the answer.
    """

    name: ClassVar[str] = "exact_answer"
    version: ClassVar[int] = 4
    measures: ClassVar[Measure] = "verdict"

    def __init__(self, last_line: bool = False) -> None:
        if not isinstance(last_line, bool):
            raise UserError("last_line", f"{last_line!r}", "true or false", "correct the option")
        self._last_line = last_line

    def score(self, text: str, reference: str | None) -> Score:
        """Compare the answer in `text` with the one in `reference`."""
        if reference is None or not reference.strip():
            return Unreferenced(None, False, "the prompt has no reference")
        answer = extract_answer(text)
        if answer is None and self._last_line:
            answer = last_line(text)
        if answer is None:
            return Score(0.0, False, "no answer found")
        return self._compared(answer, *_expected(reference))

    def _compared(self, answer: str, expected: str, letter: bool) -> Score:
        stated = normalize(answer)
        found = CHOICE.fullmatch(_plain(stated)) if letter else None
        passed = (found[1] if found else stated) == expected
        return Score(1.0 if passed else 0.0, passed, answer)


@functools.lru_cache(maxsize=1024)
def _expected(reference: str) -> tuple[str, bool]:
    """The reference's answer, and whether it is the letter of a choice; the samples of a prompt share it."""
    expected = normalize(extract_reference(reference))
    found = ALONE.fullmatch(_plain(expected))
    return (found[1], True) if found else (expected, False)


def _plain(stated: str) -> str:
    """A choice without what only says how it looks."""
    if len(stated) > LONGEST:
        return stated
    return MARKED.sub(lambda found: found[2] or found[3], SET.sub(r"\1", stated)).strip()
