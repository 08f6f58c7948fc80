"""What a format of training data is, and what every format holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from winnow.records import Message


@dataclass(frozen=True)
class Conversation:
    """What every format holds in its own way: a prompt, the completion, and the images as shown."""

    messages: list[Message]
    completion: str
    images: list[str] | None = None


class Format(Protocol):
    """A format of training data. It reads its own rows back, for an export is verified before it counts."""

    @property
    def filename(self) -> str:
        """Of the file of training data: one object a line for .jsonl, a list of them for .json."""
        ...

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        ...

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        ...
