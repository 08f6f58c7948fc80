"""Training data as Alpaca rows, which LLaMA-Factory and others read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.errors import UserError
from winnow.formats import Conversation


class Alpaca:
    """``[{"system"?, "instruction", "input": "", "output"}, …]``, for prompts of a single turn."""

    filename = "alpaca.json"

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        *system, user = conversation.messages
        if [m["role"] for m in conversation.messages] not in (["user"], ["system", "user"]):
            roles = ", ".join(m["role"] for m in conversation.messages)
            raise UserError(
                "messages", roles, "one user turn, after a system message or none", "export messages"
            )
        row = {"instruction": user["content"], "input": "", "output": conversation.completion}
        return {"system": system[0]["content"], **row} if system else row

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see; Winnow compares it with what was selected."""
        messages = [{"role": "user", "content": row["instruction"]}]
        if "system" in row:
            messages.insert(0, {"role": "system", "content": row["system"]})
        return Conversation(messages, row["output"])
