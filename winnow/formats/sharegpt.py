"""sharegpt: conversations from `human` and `gpt` (LLaMA-Factory, LightRFT, LLaVA); a JSON list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import Conversation

SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
ROLES = {speaker: role for role, speaker in SPEAKERS.items()}


class ShareGpt:
    """``{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}], "images"?}``."""

    name = "sharegpt"
    filename = "sharegpt.json"

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        turns = [{"from": SPEAKERS[m["role"]], "value": m["content"]} for m in conversation.messages]
        turns.append({"from": "gpt", "value": conversation.completion})
        row: dict[str, Any] = {"conversations": turns}
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        *turns, last = row["conversations"]
        messages = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in turns]
        return Conversation(messages, last["value"], row.get("images"))
