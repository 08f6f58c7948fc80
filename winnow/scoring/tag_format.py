"""format: the text consists of the tags that it should, in order, each once and closed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from winnow.errors import UserError
from winnow.scoring.score import Measure, Score


class TagFormat:
    """Value 1 and passed when each tag is opened and closed once, in order, with something in it, else 0.

    Args:
        tags: their names, in order; ``["think", "answer"]`` is ``<think>…</think> <answer>…</answer>``.
        strict: nothing but space may stand outside of the tags.
        opened: the prompt ends with the first tag's opening, as some chat templates have it.
    """

    name: ClassVar[str] = "format"
    version: ClassVar[int] = 1
    measures: ClassVar[Measure] = "verdict"

    def __init__(
        self, tags: Sequence[str] = ("think", "answer"), strict: bool = True, opened: bool = False
    ) -> None:
        if not isinstance(tags, list | tuple) or not tags or not all(isinstance(tag, str) for tag in tags):
            raise UserError("tags", f"{tags!r}", "a list of names", "correct the option")
        if len(set(tags)) < len(tags):
            raise UserError("tags", f"{tags!r}", "a list of different names", "correct the option")
        for tag in tags:
            if not re.fullmatch(r"[\w-]+", tag):
                raise UserError("tags", f"{tag!r}", "a name without < and >", "correct the option")
        self._tags, self._strict, self._opened = tuple(tags), strict, opened

    def score(self, text: str, reference: str | None) -> Score:
        """Check the tags of `text`."""
        fault = self._fault(f"<{self._tags[0]}>{text}" if self._opened else text)
        return Score(0.0, False, fault) if fault else Score(1.0, True, "well-formed")

    def _fault(self, text: str) -> str:
        marks = [mark for tag in self._tags for mark in (f"<{tag}>", f"</{tag}>")]
        for mark in marks:
            if (count := text.count(mark)) != 1:
                return f"{count} times {mark}"
        starts = [text.index(mark) for mark in marks]
        for mark, start, following in zip(marks, starts, starts[1:], strict=False):
            if start > following:
                return f"{mark} out of order"
        outside, rest = [], text
        for index in range(0, len(marks), 2):
            before, _, rest = rest.partition(marks[index])
            inside, _, rest = rest.partition(marks[index + 1])
            outside.append(before)
            if not inside.strip():
                return f"nothing in {marks[index]}"
        stray = next((place for place in (*outside, rest) if place.strip()), "") if self._strict else ""
        return f"text outside of the tags: {stray.strip()[:40]}" if stray else ""
