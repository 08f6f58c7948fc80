"""The one exception for a user's mistake: where it is, what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Input that Winnow cannot go on with. Programs print it without a traceback and exit with 2.

    Attributes:
        where: the file (with its line or record id), flag or config key at fault.
        found: what stands there.
        expected: what should stand there.
        mend: what the reader can do about it.
    """

    def __init__(self, where: str | Path, found: str, expected: str, mend: str) -> None:
        self.where, self.found, self.expected, self.mend = str(where), found, expected, mend
        super().__init__(f"{self.where}: {found}\n  expected: {expected}\n  to mend:  {mend}")

    def at(self, place: str | Path) -> UserError:
        """The same error, with a place before its own: the file of a row, the config's key of a name."""
        return UserError(f"{place}: {self.where}", self.found, self.expected, self.mend)

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str, str]]:
        """Survive the way from a worker process to its parent."""
        return UserError, (self.where, self.found, self.expected, self.mend)


def closest(word: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` when a known word is near, else an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
