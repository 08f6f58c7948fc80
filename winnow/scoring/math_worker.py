"""What a process of the scorer `math` does."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from winnow.scoring.answers import extract_answer, extract_reference

Verdict = tuple[float | None, bool, str, bool]
"""Value, passed, detail, and whether the reference is at fault."""


def judge(pairs: Sequence[tuple[str, str | None]], seconds: int) -> list[Verdict]:
    """A verdict for each (completion's text, reference).

    Args:
        pairs: those of a prompt follow one another, and share its reference.
        seconds: for each step of a comparison.
    """
    return [_judge(text, reference, seconds) for text, reference in pairs]


def _judge(text: str, reference: str | None, seconds: int) -> Verdict:
    # Slow to import; once in each process.
    from math_verify import verify

    if reference is None:
        return None, False, "the prompt has no reference", True
    expected = _expected(reference, seconds)
    if not expected:
        return None, False, f"the reference cannot be read as mathematics: {reference[:80]!r}", True
    answer = extract_answer(text)
    stated = _read(text if answer is None else answer, seconds, bare=answer is not None)
    if not stated:
        return 0.0, False, "no answer found" if answer is None else f"not mathematics: {answer[:80]}", False
    passed = verify(expected, stated, timeout_seconds=seconds)
    return (1.0 if passed else 0.0), passed, str(stated[-1])[:200], False


@functools.lru_cache(maxsize=256)
def _expected(reference: str, seconds: int) -> list[Any]:
    return _read(extract_reference(reference), seconds, bare=True)


def _read(text: str, seconds: int, bare: bool) -> list[Any]:
    """What math-verify makes of a text; of a bare answer, as it stands in a box, else by itself."""
    from math_verify import parse

    # Its formulas are looked for between marks, which a bare answer lacks.
    forms = (f"\\boxed{{{text}}}", text) if bare and text.strip() else (text,)
    for form in forms:
        found: list[Any] = parse(form, parsing_timeout=seconds)
        if found:
            return found
    return []
