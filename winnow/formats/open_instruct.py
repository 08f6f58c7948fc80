"""open_instruct: the files of open-instruct's rejection sampling: completions, scores, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import BOTH, WHOLE, Conversation, Origin, Pair, Takes


class OpenInstruct:
    """The result: whole message lists, and what each scorer said of the two and of the reference.

    ``{"chosen": [messages], "rejected": [messages], "reference_completion",
    "reference_completion_score": {scorer: value}, "chosen_score": {…}, "rejected_score": {…}}``
    """

    name = "open_instruct"
    filename = "rejected_sampling_completions.jsonl"
    takes: Takes = "pairs"
    holds = (
        *BOTH,
        "chosen.origin.reference",
        "chosen.origin.reference_scores",
        "chosen.origin.scores",
        "rejected.origin.scores",
    )

    def to_row(self, pair: Pair) -> dict[str, Any]:
        """A row of the format."""
        origin = pair.chosen.origin
        row = {
            "chosen": whole(pair.chosen),
            "rejected": whole(pair.rejected),
            "reference_completion": origin.reference,
            "reference_completion_score": origin.reference_scores,
            "chosen_score": origin.scores,
            "rejected_score": pair.rejected.origin.scores,
        }
        return row if pair.chosen.images is None else {**row, "images": pair.chosen.images}

    def from_row(self, row: Mapping[str, Any]) -> Pair:
        """What a trainer that reads the row would see."""
        reference, scores = row["reference_completion"], row["reference_completion_score"]

        def side(name: str) -> Conversation:
            *messages, last = row[name]
            origin = Origin(reference=reference, scores=row[f"{name}_score"], reference_scores=scores)
            return Conversation(messages, last["content"], row.get("images"), origin)

        return Pair(side("chosen"), side("rejected"))


class OpenInstructCompletions:
    """Every completion, n consecutive rows a prompt.

    ``{"messages": [messages], "model_completion", "reference_completion"}``; what was never generated is an
    empty text, so that the rows of a prompt stay n.
    """

    name = "open_instruct_completions"
    filename = "completions.jsonl"
    takes: Takes = "all"
    holds: tuple[str, ...] = (*WHOLE, "origin.reference")

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        row = {
            "messages": whole(conversation),
            "model_completion": conversation.completion,
            "reference_completion": conversation.origin.reference,
        }
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What selection would read; the completion stands in the row twice, and the messages count."""
        *messages, last = row["messages"]
        origin = Origin(reference=row["reference_completion"], scores=row.get("score", {}))
        return Conversation(messages, last["content"], row.get("images"), origin)


class OpenInstructScores(OpenInstructCompletions):
    """Every completion as above, with ``"score": {scorer: value}``."""

    name = "open_instruct_scores"
    filename = "completion_scores.jsonl"
    holds = (*OpenInstructCompletions.holds, "origin.scores")

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format."""
        return {**super().to_row(conversation), "score": conversation.origin.scores}


def whole(conversation: Conversation) -> list[dict[str, Any]]:
    """The messages with the completion as their last turn."""
    return [*conversation.messages, {"role": "assistant", "content": conversation.completion}]
