"""parquet: verl's table of prompts with rule-checked answers, and the completions that were accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.formats.format import Answered, Origin, Takes


class Parquet:
    """A row for each prompt with an accepted completion, in the columns that verl reads.

    ``data_source`` and ``ability`` (the data set's own fields of these names, if it has them), ``prompt``
    (messages, an ``<image>`` for each image), ``images`` ({"image": path}), ``reward_model`` ({"style",
    "ground_truth"}: `rule` where there is a reference), ``extra_info`` ({"index", "id"}) and ``responses``,
    as verl's own generation writes them.
    """

    name = "parquet"
    filename = "train.parquet"
    takes: Takes = "prompts"
    holds = ("shown", "completions", "images", "origin.reference", "origin.index", "origin.prompt_id")

    def schema(self) -> Any:
        """Of the table (a pyarrow schema): the same for every file, also an empty one."""
        import pyarrow as pa

        text = pa.string()
        return pa.schema(
            {
                "data_source": text,
                "prompt": pa.list_(pa.struct({"role": text, "content": text})),
                "images": pa.list_(pa.struct({"image": text})),
                "ability": text,
                "reward_model": pa.struct({"style": text, "ground_truth": text}),
                "extra_info": pa.struct({"index": pa.int64(), "id": text}),
                "responses": pa.list_(text),
            }
        )

    def to_row(self, prompt: Answered) -> dict[str, Any]:
        """A row of the format."""
        origin = prompt.origin
        return {
            "data_source": str(origin.metadata.get("data_source", "winnow")),
            "prompt": [{"role": each["role"], "content": each["content"]} for each in prompt.shown],
            "images": None if prompt.images is None else [{"image": path} for path in prompt.images],
            "ability": str(origin.metadata.get("ability", "general")),
            "reward_model": {
                "style": "model" if origin.reference is None else "rule",
                "ground_truth": origin.reference,
            },
            "extra_info": {"index": origin.index, "id": origin.prompt_id},
            "responses": prompt.completions,
        }

    def from_row(self, row: Mapping[str, Any]) -> Answered:
        """What a trainer that reads the row would see."""
        extra = row["extra_info"]
        origin = Origin(
            index=extra["index"], prompt_id=extra["id"], reference=row["reward_model"]["ground_truth"]
        )
        images = None if row["images"] is None else [each["image"] for each in row["images"]]
        return Answered(row["prompt"], row["responses"], images, origin)
