"""choice: which of a few named choices the completion states."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.answers import cut_off, extract_answer, extract_reference, normalize
from winnow.scoring.score import Measure, Score, Unreferenced

BETTER = ("Image 1 is better", "Image 2 is better")


class Choice:
    """Value 1 and passed when the choice that is stated is the reference's, else 0.

    Args:
        choices: what may be stated; case, space and a final full stop do not matter, but of single letters
            the case does.
        fallback: `last` takes, where no answer is tagged, the choice that the text names last; `none` takes
            tagged answers alone.

    A completion that states no choice, or several, has no value: it is counted as a parse failure, not as a
    wrong answer.
    """

    name: ClassVar[str] = "choice"
    version: ClassVar[int] = 2
    measures: ClassVar[Measure] = "verdict"

    def __init__(self, choices: Sequence[str] = BETTER, fallback: str = "last") -> None:
        if not _texts(choices) or len({normalize(choice) for choice in choices} - {""}) < 2:
            raise UserError(
                "choices",
                f"{choices!r}",
                "at least two different texts",
                "correct the option; in YAML, numbers, yes and no are texts in quotes alone",
            )
        if fallback not in ("last", "none"):
            raise UserError("fallback", f"{fallback!r}", "last or none", "correct the option")
        self._folded = all(len(normalize(choice)) > 1 for choice in choices)
        if fallback == "last" and not self._folded:
            raise UserError(
                "fallback",
                f"last, with choices of one letter: {', '.join(choices)}",
                "none: in running text, A and I are words as well",
                "give fallback: none, or use exact_answer, which reads letters",
            )
        # The longest first: `A is much better` is not `A`.
        known = {self._form(choice): choice for choice in choices}
        self._choices = sorted(known.items(), key=_longest_first)
        self._fallback = fallback
        self._expected = functools.lru_cache(maxsize=1024)(self._of_reference)

    def score(self, text: str, reference: str | None) -> Score:
        """Find the choice in `text` and compare it with that of `reference`."""
        expected = None if reference is None else self._expected(reference)
        if expected is None:
            return Unreferenced(None, False, f"the reference is none of the choices: {reference!r:.80}")
        answer = extract_answer(text)
        if answer is not None:
            named = self._named(answer)
            if len(set(named)) != 1:
                return Score(None, False, f"no one choice: {answer[:80]}" if answer else "no choice")
        else:
            named = [] if self._fallback == "none" or cut_off(text) else self._named(text)
            if not named:
                return Score(None, False, "no answer found")
        passed = named[-1] == expected
        return Score(1.0 if passed else 0.0, passed, named[-1])

    def _form(self, choice: str) -> str:
        return normalize(choice) if self._folded else choice.strip()

    def named(self, text: str) -> str | None:
        """The one choice that a text names; None where it names none or several."""
        named = self._named(text)
        return named[0] if len(set(named)) == 1 else None

    def _of_reference(self, reference: str) -> str | None:
        return self.named(extract_reference(reference))

    def _named(self, text: str) -> list[str]:
        """The choices that a text names, in its order."""
        folded = " ".join((text.casefold() if self._folded else text).split())
        found: list[tuple[int, str]] = []
        for normal, choice in self._choices:
            start = folded.find(normal)
            while start >= 0:
                end = start + len(normal)
                if _stands_alone(folded, start, end):
                    found.append((start, choice))
                    # Not to be found again as a part of itself.
                    folded = folded[:start] + "\0" * len(normal) + folded[end:]
                start = folded.find(normal, end)
        return [choice for _, choice in sorted(found)]


def _texts(choices: object) -> bool:
    """Whether this is a list of texts."""
    return isinstance(choices, list | tuple) and all(isinstance(each, str) for each in choices)


def _longest_first(entry: tuple[str, str]) -> tuple[int, str]:
    return -len(entry[0]), entry[0]


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit goes on from a place in a text: `image 1` is not in `image 12`."""
    before, behind = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() or behind.isalnum())
