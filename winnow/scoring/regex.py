"""regex: the text matches a pattern, or a group of it is the reference."""

from __future__ import annotations

from typing import Any, ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import extract_reference, normalize
from winnow.scoring.score import Measure, Score, Unreferenced


class Regex:
    """Value 1 and passed when the pattern is found in the text, else 0.

    Args:
        pattern: of the `regex` module, whose syntax is that of Python's `re` and more; ``.`` does not match
            a line's end, unless the pattern begins with ``(?s)``.
        group: a group's number or name; then its text in the last match has to be the reference.
        seconds: for one text: a pattern can backtrack for ever.

    A text on which the time is over has no value.
    """

    name: ClassVar[str] = "regex"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "verdict"

    def __init__(self, pattern: str, group: int | str | None = None, seconds: float = 1.0) -> None:
        # Only now: most runs do without.
        import regex

        if not isinstance(seconds, int | float) or not seconds > 0:
            raise UserError("seconds", f"{seconds!r}", "a number above 0", "correct the option")
        try:
            self._pattern: Any = regex.compile(pattern)
        except (regex.error, TypeError) as error:
            raise UserError(
                "pattern", f"{pattern!r} does not compile: {error}", "a regular expression", "correct it"
            ) from None
        known = [*range(self._pattern.groups + 1), *self._pattern.groupindex]
        if group is not None and group not in known:
            raise UserError("group", f"{group!r}", f"one of {known}", "correct the option, or the pattern")
        self._group, self._seconds = group, seconds

    def score(self, text: str, reference: str | None) -> Score:
        """Look for the pattern in `text`; with a group, compare it with `reference`."""
        if self._group is not None and reference is None:
            return Unreferenced(None, False, "the prompt has no reference")
        try:
            found = self._last(text) if self._group is not None else self._search(text)
        except TimeoutError:
            return Score(None, False, f"the pattern did not end within {self._seconds:g} s")
        if found is None:
            return Score(0.0, False, "no match")
        stated = found.group(self._group or 0) or ""
        passed = self._group is None or normalize(stated.strip()) == normalize(
            extract_reference(reference or "")
        )
        return Score(1.0 if passed else 0.0, passed, stated[:200])

    def _search(self, text: str) -> Any:
        return self._pattern.search(text, timeout=self._seconds)

    def _last(self, text: str) -> Any:
        last = None
        for last in self._pattern.finditer(text, timeout=self._seconds):  # noqa: B007
            pass
        return last
