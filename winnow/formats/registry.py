"""The formats by name. Each can read its own rows back, for an export is verified before it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from winnow.errors import UserError, closest
from winnow.records import Message


@dataclass(frozen=True)
class Conversation:
    """What every format holds in its own way: a prompt, the completion, and the images as shown."""

    messages: list[Message]
    completion: str
    images: list[str] | None = None


class Format(Protocol):
    """A format of training data."""

    name: str
    filename: str

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        ...

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        ...


def _formats() -> dict[str, Format]:
    from winnow.formats.messages import Messages
    from winnow.formats.prompt_completion import PromptCompletion
    from winnow.formats.sharegpt import ShareGpt

    known: tuple[Format, ...] = (Messages(), PromptCompletion(), ShareGpt())
    return {entry.name: entry for entry in known}


def names() -> list[str]:
    """The names that a config may use."""
    return list(_formats())


def find(name: str) -> Format:
    """A format by name.

    Raises:
        UserError: an unknown name; a near one is suggested.
    """
    known = _formats()
    if name not in known:
        raise UserError(
            f"format {name!r}",
            f"unknown{closest(name, known)}",
            "one of " + ", ".join(known),
            "correct the name",
        )
    return known[name]
