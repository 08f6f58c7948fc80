"""lightrft: what a judge of two images got right, and the conversations to train it on (LightRFT).

The images stand in the order in which they were shown. A right answer that contradicts this order, by the
data set's own `path1` (preferred) and `path2`, is an error: it would be trained on upside down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.errors import UserError
from winnow.formats.format import Conversation, Origin, Takes
from winnow.formats.sharegpt import messages_of, turns_of
from winnow.formats.tags import tagged
from winnow.scoring.choice import BETTER

SAID = dict(zip(BETTER, "AB", strict=True))
"""What the answers mean."""


class LightRft:
    """``{"conversations": [{"from": "human"}, {"from": "gpt"}], "images": [first shown, second shown]}``.

    The answer is written as ``<think>\\n…\\n</think>\\n<answer>Image 1 is better</answer>``, in these words
    however the model wrote it. The reasoning is the model's own; a completion without stays without. The
    texts have no ``<image>``: LightRFT puts the images in itself.
    """

    name = "lightrft"
    filename = "rejection_sampling_train.json"
    takes: Takes = "chosen"
    holds = ("bare", "images", "reasoning", "choice")

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format.

        Raises:
            UserError: no answer, or one that contradicts the order of the images.
        """
        answer = stated(conversation)
        preference(conversation)
        said = {"from": "gpt", "value": tagged(conversation.reasoning, answer)}
        row: dict[str, Any] = {"conversations": [*turns_of(conversation.bare), said]}
        return row if conversation.images is None else {**row, "images": conversation.images}

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """What a trainer that reads the row would see."""
        *turns, last = row["conversations"]
        return Conversation(messages_of(turns), last["value"], row.get("images"))


class LightRftSamples:
    """The accepted completions beside the data set's own fields.

    ``{"prompt", "path1", "path2", "preference": "A" | "B", "generated_text", "predicted_answer",
    "reasoning", …every other field of the data set}``; `path1` is the preferred image, "A" says that it was
    shown first. `filtered_samples_stats.txt` beside it accounts for all completions.
    """

    name = "lightrft_samples"
    filename = "filtered_samples.json"
    statistics = "filtered_samples_stats.txt"
    takes: Takes = "chosen"
    holds: tuple[str, ...] = ("completion", "images", "answer", "reasoning")

    OWN = ("generated_text", "predicted_answer", "reasoning")
    """Keys that the format writes itself."""

    def to_row(self, conversation: Conversation) -> dict[str, Any]:
        """A row of the format.

        Raises:
            UserError: the data set is not one of pairs of images, or the answer contradicts their order.
        """
        metadata = conversation.origin.metadata
        missing = [key for key in ("prompt", "path1", "path2") if not isinstance(metadata.get(key), str)]
        taken = [key for key in self.OWN if key in metadata]
        if missing or taken:
            raise UserError(
                where_of(conversation),
                f"the data set has {'no' if missing else 'a'} field {(missing or taken)[0]!r}",
                f"prompt, path1 and path2 of a pair of images, and no {', '.join(self.OWN)}",
                "export a data set of pairs (adapter hpdv3) in this format, or leave the format out",
            )
        answer, preferred = stated(conversation), preference(conversation)
        return {
            "prompt": metadata["prompt"],
            "path1": metadata["path1"],
            "path2": metadata["path2"],
            "preference": preferred,
            "generated_text": conversation.completion,
            "predicted_answer": answer,
            "reasoning": conversation.reasoning,
            **conversation.origin.fields,
        }

    def from_row(self, row: Mapping[str, Any]) -> Conversation:
        """The completion, its images in the order shown, and the data set's own fields; no messages."""
        images = [row["path1"], row["path2"]]
        metadata = {key: value for key, value in row.items() if key not in self.OWN}
        ordered = images if row["preference"] == "A" else images[::-1]
        return Conversation([], row["generated_text"], ordered, Origin(metadata=metadata))


def stated(conversation: Conversation) -> str:
    """The completion's answer, a choice between two images in LightRFT's words.

    Raises:
        UserError: it has none in tags.
    """
    if conversation.choice:
        return conversation.choice
    raise UserError(
        where_of(conversation),
        f"no <answer> in {conversation.completion[-80:]!r}",
        "an answer in its tags: this format writes reasoning and answer apart",
        "select only completions whose tags are whole (scorer `format`), or leave the format out",
    )


def preference(conversation: Conversation) -> str | None:
    """A where the preferred image was shown first, B where second; None if the data set does not tell.

    Raises:
        UserError: other images were shown than the data set's pair, or the answer contradicts their order.
    """
    metadata = conversation.origin.metadata
    pair = [metadata.get("path1"), metadata.get("path2")]
    if None in pair:
        return None
    if conversation.images not in (pair, pair[::-1]):
        raise UserError(
            where_of(conversation),
            f"the images {conversation.images}, where the data set has path1 and path2 {pair}",
            "these two, in the order in which they were shown",
            "make the prompts again with the data set that they belong to",
        )
    preferred = "A" if conversation.images == pair else "B"
    said = SAID.get(conversation.choice or "", preferred)
    for what, told in (("answer", said), ("data set's preference", metadata.get("preference", preferred))):
        if told != preferred and pair[0] != pair[1]:
            raise UserError(
                where_of(conversation),
                f"the {what} is {told}, where the preferred image, {pair[0]}, was shown "
                + ("first (A)" if preferred == "A" else "second (B)"),
                "an answer that names the preferred image by its place",
                "make prompts and completions again: the images were put in another order between the two",
            )
    return preferred


def where_of(conversation: Conversation) -> str:
    """The prompt, for messages."""
    return f"prompt {conversation.origin.prompt_id!r}"
