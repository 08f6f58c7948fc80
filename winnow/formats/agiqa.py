"""agiqa: the data set without the prompts that no rollout came near: problem, answer and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import Answered, Origin, Takes


class Agiqa:
    """``{"problem", "answer", "images"}``, a row for each prompt with an accepted completion.

    With `selection: {strategy: min_error, max_error: 0.75}`, those are the prompts whose smallest error is
    at most that.
    """

    name = "agiqa"
    filename = "filtered_dataset.jsonl"
    takes: Takes = "prompts"
    holds = ("problem", "ground_truth", "images")

    def to_row(self, prompt: Answered) -> dict[str, Any]:
        """A row of the format."""
        return {"problem": prompt.problem, "answer": prompt.ground_truth, "images": prompt.images}

    def from_row(self, row: Mapping[str, Any]) -> Answered:
        """What a trainer that reads the row would see: no completion."""
        asked = [{"role": "user", "content": row["problem"]}]
        fields = {"problem": row["problem"], "answer": row["answer"]}
        return Answered(asked, [], row["images"], Origin(metadata=fields))
