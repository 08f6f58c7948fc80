"""vespo: conversations with the data set's own fields, and their q* diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.formats.format import WHOLE, Conversation, Origin, Takes

OWN = ("messages", "sample_idx", "id", "images")
"""Keys that the format writes itself."""
METRICS = ("alpha_mean", "alpha_std", "ess_ratio_mean", "ess_ratio_std", "kl_theta_mean", "kl_t_mean")


class Vespo:
    """``{"messages": [user, assistant], "sample_idx", "id", "images"?, …every field of the data set}``.

    `sample_idx` counts the rows: it is what the diagnostics are joined by. `id` is the prompt's.
    """

    name = "vespo"
    filename = "vespo.jsonl"
    takes: Takes = "chosen"
    holds = (*WHOLE, "origin.index", "origin.prompt_id", "origin.fields")

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format.

        Raises:
            UserError: the data set has a field `sample_idx`.
        """
        origin = conversation.origin
        if "sample_idx" in origin.metadata:
            raise UserError(
                f"prompt {origin.prompt_id!r}",
                "the data set has a field 'sample_idx', which this format writes itself",
                "another name for it",
                "rename the field in the data set, or leave the format out",
            )
        row: dict[str, Any] = {
            "messages": [*conversation.messages, {"role": "assistant", "content": conversation.completion}],
            "sample_idx": origin.index,
            "id": origin.prompt_id,
        }
        if conversation.images is not None:
            row["images"] = conversation.images
        return {**row, **origin.fields}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        *messages, last = row["messages"]
        metadata = {key: value for key, value in row.items() if key not in OWN}
        origin = Origin(index=row["sample_idx"], prompt_id=row["id"], metadata=metadata)
        return Conversation(messages, last["content"], row.get("images"), origin)


class VespoDiagnostics:
    """``{"sample_idx", "alpha_mean", "alpha_std", "ess_ratio_mean", …}``: a row for each of `vespo`'s.

    Null where one model drew the completion, or where a metric was finite at no token.
    """

    name = "vespo_diagnostics"
    filename = "vespo.diagnostics.jsonl"
    takes: Takes = "chosen"
    holds = ("origin.index",)

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format.

        Raises:
            UserError: a completion that two models drew, without its diagnostics.
        """
        origin = conversation.origin
        if not origin.diagnostics and origin.alpha and Alpha.parse(origin.alpha).needs_both:
            raise UserError(
                f"prompt {origin.prompt_id!r}",
                f"a completion drawn by {origin.alpha}, and no q* diagnostics of it",
                "its row in the *.diagnostics.jsonl that generate.py --save_diagnostics writes",
                "pass --diagnostics with their folder (--num_shards, --n, --block_size as for select.py), or "
                "leave out vespo_diagnostics",
            )
        return {"sample_idx": origin.index, **{name: origin.diagnostics.get(name) for name in METRICS}}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """The diagnostics, without a conversation."""
        diagnostics = {name: row[name] for name in METRICS}
        return Conversation([], "", origin=Origin(index=row["sample_idx"], diagnostics=diagnostics))
