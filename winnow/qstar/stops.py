"""Strings that end a completion, wherever they fall among its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BYTES_A_CHARACTER = 4
"""A tokenizer may need a token for each byte of a character."""


class StopStrings:
    """Finds the token that completes a stop string.

    Args:
        strings: what ends a completion.
        decode: the text of some tokens.
    """

    def __init__(self, strings: Sequence[str], decode: Callable[[Sequence[int]], str]) -> None:
        self._strings, self._decode = tuple(strings), decode
        # Before the new tokens, as many as a string that began there can have.
        self._back = BYTES_A_CHARACTER * max(map(len, self._strings), default=0)

    def end(self, tokens: Sequence[int], new: int) -> int | None:
        """How many tokens there are when the first stop string is complete; None if none is.

        Args:
            tokens: of the completion.
            new: how many of them, at the end, were not looked at before.
        """
        if not self._strings:
            return None
        start = max(0, len(tokens) - new - self._back)
        if not self._within(tokens[start:]):
            return None
        for count in range(len(tokens) - new + 1, len(tokens)):
            if self._within(tokens[start:count]):
                return count
        return len(tokens)

    def cut(self, text: str) -> str:
        """The text before the first stop string."""
        return text[: min((at for each in self._strings if (at := text.find(each)) >= 0), default=None)]

    def _within(self, tokens: Sequence[int]) -> bool:
        text = self._decode(tokens)
        return any(each in text for each in self._strings)
