"""preference: TRL's conversational pairs with an explicit prompt, for DPO and reward models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import BOTH, Conversation, Pair, Takes


class Preference:
    """``{"prompt": [messages], "chosen": [one message], "rejected": [one message], "images"?}``."""

    name = "preference"
    filename = "preference.jsonl"
    takes: Takes = "pairs"
    holds = BOTH

    def to_row(self, pair: Pair) -> dict[str, Any]:
        """A row of the format."""
        row: dict[str, Any] = {
            "prompt": pair.chosen.messages,
            "chosen": [{"role": "assistant", "content": pair.chosen.completion}],
            "rejected": [{"role": "assistant", "content": pair.rejected.completion}],
        }
        return row if pair.chosen.images is None else {**row, "images": pair.chosen.images}

    def from_row(self, row: Mapping[str, Any]) -> Pair:
        """What a trainer that reads the row would see."""
        return Pair(
            Conversation(row["prompt"], row["chosen"][0]["content"], row.get("images")),
            Conversation(row["prompt"], row["rejected"][0]["content"], row.get("images")),
        )
