"""messages: one conversation in OpenAI form, the completion its last turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import WHOLE, Conversation, Takes


class Messages:
    """``{"messages": [{"role", "content"}, …, {"role": "assistant", "content": completion}]}``."""

    name = "messages"
    filename = "messages.jsonl"
    takes: Takes = "chosen"
    holds = WHOLE

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        turn = {"role": "assistant", "content": conversation.completion}
        row: dict[str, Any] = {"messages": [*conversation.messages, turn]}
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        *messages, last = row["messages"]
        return Conversation(messages, last["content"], row.get("images"))
