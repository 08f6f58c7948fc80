"""A user's adapter class that reads a data set by index: ``get_prompt(idx)`` and ``get_metadata(idx)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from winnow.adapters.example import Example, before_the_answer, is_conversation
from winnow.adapters.fields import id_of, reference_of


class StreamedRows:
    """The data set, as such a class is given it: the first row and the one at hand, for rows are streamed."""

    def __init__(self) -> None:
        self._rows: dict[int, Mapping[str, Any]] = {}

    def __getitem__(self, idx: int) -> dict[str, Any]:
        if idx not in self._rows:
            raise IndexError(f"row {idx} is not at hand: rows are streamed, here are {sorted(self._rows)}")
        return dict(self._rows[idx])

    @property
    def column_names(self) -> list[str]:
        """The fields of the first row."""
        return list(self._rows[0])

    def hold(self, idx: int, row: Mapping[str, Any]) -> None:
        """Take a row; those before it, but for the first, are let go."""
        self._rows = {0: self._rows.get(0, row), idx: row}


class Indexed:
    """The class as an adapter: of row and place, in the data set's order.

    The class is made at the first row, with the rows and the options. Its prompt is a text or a conversation;
    reference, id and images stand in its metadata, by their usual names.
    """

    def __init__(self, found: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self._found, self._options = found, dict(options)
        self._rows, self._next = StreamedRows(), 0
        self._adapter: Any = None

    def __call__(self, row: Mapping[str, Any], where: str) -> Example:
        """What the class makes of the next row."""
        idx, self._next = self._next, self._next + 1
        self._rows.hold(idx, row)
        if self._adapter is None:
            self._adapter = self._found(self._rows, **self._options)
        prompt, metadata = self._adapter.get_prompt(idx), self._adapter.get_metadata(idx)
        if not isinstance(metadata, Mapping):
            raise TypeError(f"get_metadata returned a {type(metadata).__name__}, a dict is expected")
        reference = reference_of(metadata, None, where)
        images = metadata.get("images")
        kept = {key: value for key, value in metadata.items() if key not in ("messages", "images", "id")}
        if not is_conversation(prompt):
            return Example(prompt, None, reference, id_of(metadata), images, kept)
        messages, reference = before_the_answer(prompt, reference)
        return Example(None, messages, reference, id_of(metadata), images, kept)
