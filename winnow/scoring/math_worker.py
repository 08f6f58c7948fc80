"""What a process of the scorer `math` does."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Sequence
from typing import Any

from winnow.scoring.answers import extract_answer, extract_reference

Verdict = tuple[float | None, bool, str, bool, str | None]
"""Value, passed, detail, whether the reference is at fault, and the key of a wrong answer."""


def end_with_the_parent() -> None:
    """Have this process end as soon as its parent is gone, whatever it is at."""
    threading.Thread(target=_wait_for_the_parent, daemon=True).start()


def _wait_for_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def judge(pairs: Sequence[tuple[str, str | None]], seconds: int, keyed: bool = True) -> list[Verdict]:
    """A verdict for each (completion's text, reference).

    Args:
        pairs: those of a prompt follow one another, and share its reference.
        seconds: for each step of a comparison.
        keyed: whether wrong answers get a key, by which those that are equal are told.
    """
    return [_judge(text, reference, seconds, keyed) for text, reference in pairs]


def _judge(text: str, reference: str | None, seconds: int, keyed: bool) -> Verdict:
    # Slow to import; once in each process.
    from math_verify.errors import TimeoutException

    if reference is None:
        return None, False, "the prompt has no reference", True, None
    try:
        return _compared(text, reference, seconds, keyed)
    except TimeoutException:
        return None, False, f"math-verify did not end within {seconds} s", False, None
    except _Unjudged as fault:
        return None, False, f"math-verify failed: {fault.__cause__!r:.200}", False, None


class _Unjudged(Exception):
    """math-verify raised, of which its cause tells: that is no verdict on the completion."""


def _compared(text: str, reference: str, seconds: int, keyed: bool) -> Verdict:
    expected = _expected(reference, seconds)
    if not expected:
        return None, False, f"the reference cannot be read as mathematics: {reference[:80]!r}", True, None
    answer = extract_answer(text)
    stated = _read(text if answer is None else answer, seconds, bare=answer is not None)
    if not stated:
        unread = "no answer found" if answer is None else f"not mathematics: {answer[:80]}"
        return 0.0, False, unread, False, None
    passed = _equal(expected, stated, seconds)
    key = _key(stated[0], seconds) if keyed and not passed else None
    return (1.0 if passed else 0.0), passed, str(stated[-1])[:200], False, key


def _key(read: Any, seconds: int) -> str | None:
    """What equal answers have in common; None where it cannot be told, or not in time."""
    from math_verify.errors import TimeoutException
    from math_verify.utils import timeout

    from winnow.scoring.answer_key import answer_key

    if isinstance(read, str):
        return None
    try:
        key: str = timeout(timeout_seconds=seconds)(answer_key)(read)
    except (TimeoutException, Exception):
        # sympy may raise anything. The verdict stands, and a vote compares the answer's text.
        return None
    return key


def _equal(expected: list[Any], stated: list[Any], seconds: int) -> bool:
    from math_verify import verify
    from math_verify.errors import TimeoutException

    try:
        return bool(verify(expected, stated, timeout_seconds=seconds, raise_on_error=True))
    except (TimeoutException, Exception) as error:
        # Left to itself it goes on behind a reading that fails, to others that may be equal.
        if verify(expected, stated, timeout_seconds=seconds):
            return True
        if isinstance(error, TimeoutException):
            raise
        raise _Unjudged from error


@functools.lru_cache(maxsize=256)
def _expected(reference: str, seconds: int) -> list[Any]:
    return _read(extract_reference(reference), seconds, bare=True)


def _read(text: str, seconds: int, bare: bool) -> list[Any]:
    """What math-verify makes of a text; of a bare answer, as it stands in a box, else by itself."""
    from math_verify import parse

    # Its formulas are looked for between marks, which a bare answer lacks.
    forms = (f"\\boxed{{{text}}}", text) if bare and text.strip() else (text,)
    for form in forms:
        try:
            found: list[Any] = parse(form, parsing_timeout=seconds, raise_on_error=True)
        except Exception as error:
            raise _Unjudged from error
        if found:
            return found
    return []
