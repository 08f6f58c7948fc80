"""sharegpt: conversations from `human` and `gpt` (LLaMA-Factory, LLaVA); a JSON list, also of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import Conversation, Pair, Takes
from winnow.records import Message

SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
ROLES = {speaker: role for role, speaker in SPEAKERS.items()}


class ShareGpt:
    """``{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}], "images"?}``.

    Each image has its ``<image>`` in a text, by which LLaMA-Factory places and counts them.
    """

    name = "sharegpt"
    filename = "sharegpt.json"
    takes: Takes = "chosen"
    holds = ("shown", "completion", "images")

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        turns = [*turns_of(conversation.shown), {"from": "gpt", "value": conversation.completion}]
        row: dict[str, Any] = {"conversations": turns}
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        *turns, last = row["conversations"]
        return Conversation(messages_of(turns), last["value"], row.get("images"))


class ShareGptPreference:
    """``{"conversations": [prompt], "chosen": {"from": "gpt", "value"}, "rejected": {…}, "images"?}``."""

    name = "sharegpt_preference"
    filename = "sharegpt_preference.json"
    takes: Takes = "pairs"
    holds = tuple(f"{side}.{what}" for side in ("chosen", "rejected") for what in ShareGpt.holds)

    def to_row(self, pair: Pair) -> dict[str, Any]:
        """A row of the format."""
        row: dict[str, Any] = {
            "conversations": turns_of(pair.chosen.shown),
            "chosen": {"from": "gpt", "value": pair.chosen.completion},
            "rejected": {"from": "gpt", "value": pair.rejected.completion},
        }
        return row if pair.chosen.images is None else {**row, "images": pair.chosen.images}

    def from_row(self, row: Mapping[str, Any]) -> Pair:
        """What a trainer that reads the row would see."""
        messages, images = messages_of(row["conversations"]), row.get("images")
        return Pair(
            Conversation(messages, row["chosen"]["value"], images),
            Conversation(messages, row["rejected"]["value"], images),
        )


def turns_of(messages: list[Message]) -> list[dict[str, str]]:
    """Messages as turns of their speakers."""
    return [{"from": SPEAKERS[each["role"]], "value": each["content"]} for each in messages]


def messages_of(turns: list[dict[str, str]]) -> list[Message]:
    """Turns as messages of their roles."""
    return [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in turns]
