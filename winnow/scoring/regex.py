"""regex: the text matches a pattern, or a group of it is the reference."""

from __future__ import annotations

from typing import Any, ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import extract_reference, normalize
from winnow.scoring.score import Measure, Score, Unreferenced

HOPELESS = 32
"""Texts, from the first, on none of which a pattern has ended, before it is given up."""


class Regex:
    """Value 1 and passed when the pattern is found in the text, else 0.

    Args:
        pattern: of the `regex` module, whose syntax is that of Python's `re` and more; ``.`` does not match
            a line's end, unless the pattern begins with ``(?s)``.
        group: a group's number or name; then its text in the last match has to be the reference.
        seconds: for one text: a pattern can backtrack for ever.

    A text on which the time is over has no value; where it is over on all of the first, the job ends.
    """

    name: ClassVar[str] = "regex"
    version: ClassVar[int] = 2
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
        self._ended, self._endless = False, 0

    def score(self, text: str, reference: str | None) -> Score:
        """Look for the pattern in `text`; with a group, compare it with `reference`."""
        if self._group is not None and reference is None:
            return Unreferenced(None, False, "the prompt has no reference")
        try:
            found = self._last(text) if self._group is not None else self._search(text)
        except TimeoutError:
            return self._without_end()
        self._ended = True
        if found is None:
            return Score(0.0, False, "no match")
        stated = found.group(self._group or 0) or ""
        passed = self._group is None or normalize(stated.strip()) == normalize(
            extract_reference(reference or "")
        )
        return Score(1.0 if passed else 0.0, passed, stated[:200])

    def _without_end(self) -> Score:
        """The score of a text on which the time was over; where that holds of all, they are given up soon."""
        self._endless += 1
        if not self._ended and self._endless >= HOPELESS:
            raise UserError(
                f"scorer {self.name!r}, pattern",
                f"it did not end within {self._seconds:g} s on any of the first {self._endless} texts",
                "a pattern that ends: nested repetitions backtrack for ever",
                "simplify it, or give it more seconds",
            )
        return Score(None, False, f"the pattern did not end within {self._seconds:g} s")

    def _search(self, text: str) -> Any:
        return self._pattern.search(text, timeout=self._seconds)

    def _last(self, text: str) -> Any:
        last = None
        for last in self._pattern.finditer(text, timeout=self._seconds):  # noqa: B007
            pass
        return last
