"""What an adapter makes of a data set's row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from winnow.records import Json, Message


@dataclass(frozen=True)
class Example:
    """What an adapter reads from one row.

    Attributes:
        prompt: the problem's text; None where the row has `messages`.
        messages: a conversation in OpenAI form, ending before the assistant's turn; or None.
        reference: the expected answer as text, or None.
        id: the row's own id, or None.
        images: paths below the image root, in the order in which they are shown; or None.
        metadata: what the record keeps of the row; None keeps its fields as they are.
    """

    prompt: str | None = None
    messages: list[Message] | None = None
    reference: str | None = None
    id: str | None = None
    images: list[str] | None = None
    metadata: Json | None = None


Adapter = Callable[[Mapping[str, Any], str], Example]
"""Takes a row and where it stands (file and line); raises UserError for a row that it cannot read."""


def is_conversation(messages: Any) -> bool:
    """Whether this is a list of at least one ``{role, content}``."""
    return isinstance(messages, list) and bool(messages) and all(map(_is_message, messages))


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and "content" in message


def before_the_answer(messages: list[Message], reference: str | None) -> tuple[list[Message], str | None]:
    """A conversation without a last turn of the assistant's, which is the reference unless one is given."""
    if messages[-1]["role"] != "assistant":
        return messages, reference
    return messages[:-1], str(messages[-1]["content"]) if reference is None else reference
