"""prompt_completion: TRL's conversational form, whose loss falls on the completion only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import WHOLE, Conversation, Takes


class PromptCompletion:
    """``{"prompt": [messages], "completion": [{"role": "assistant", "content": completion}]}``."""

    name = "prompt_completion"
    filename = "prompt_completion.jsonl"
    takes: Takes = "chosen"
    holds = WHOLE

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        row: dict[str, Any] = {
            "prompt": conversation.messages,
            "completion": [{"role": "assistant", "content": conversation.completion}],
        }
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        return Conversation(row["prompt"], row["completion"][0]["content"], row.get("images"))
