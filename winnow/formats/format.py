"""What a format of training data is, and what every format holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, Protocol

from winnow.formats.tags import answer_of, choice_of, reasoning_of
from winnow.images import PLACEHOLDER
from winnow.records import Message

Takes = Literal["chosen", "pairs", "prompts", "all"]
"""What a format makes its rows of: each chosen completion; each pair of a chosen and a rejected one; each
prompt with its chosen completions; or every completion that was scored, n in a row for each prompt."""


@dataclass(frozen=True)
class Origin:
    """What the records know of a row beside its conversation.

    Attributes:
        index: the row's place in the file, from 0.
        prompt_id: of the prompt.
        reference: the prompt's.
        metadata: the data set's own fields.
        scores: the value that each scorer gave, None where it gave none.
        reference_scores: likewise for the reference as a completion, where it was scored.
        diagnostics: of q*, by the name of the mean or deviation.
        alpha: how the completion was drawn; empty where the records do not say.
    """

    index: int = 0
    prompt_id: str = ""
    reference: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    reference_scores: Mapping[str, float | None] = field(default_factory=dict)
    diagnostics: Mapping[str, float | None] = field(default_factory=dict)
    alpha: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The data set's own fields, without those that have a place of their own."""
        return {key: value for key, value in self.metadata.items() if key not in ("messages", "images", "id")}


@dataclass(frozen=True)
class Conversation:
    """What every format holds in its own way: a prompt, the completion, and the images as shown."""

    messages: list[Message]
    completion: str
    images: list[str] | None = None
    origin: Origin = field(default=Origin(), compare=False)

    @property
    def shown(self) -> list[Message]:
        """The messages with an ``<image>`` for each image, where the model saw it."""
        return with_placeholders(self.messages, self.images)

    @property
    def bare(self) -> list[Message]:
        """The messages without any ``<image>``."""
        return [{**each, "content": without_placeholders(each["content"])} for each in self.messages]

    @property
    def reasoning(self) -> str | None:
        """What the completion says before its answer, without tags."""
        return reasoning_of(self.completion)

    @property
    def answer(self) -> str | None:
        """What stands in the completion's last ``<answer>``."""
        return answer_of(self.completion)

    @property
    def choice(self) -> str | None:
        """The answer as ``Image 1 is better``, however the completion writes it; any other as it stands."""
        return choice_of(self.answer)


@dataclass(frozen=True)
class Pair:
    """Two completions of one prompt, of which the first is preferred."""

    chosen: Conversation
    rejected: Conversation


@dataclass(frozen=True)
class Answered:
    """A prompt with all its chosen completions, by sample."""

    messages: list[Message]
    completions: list[str]
    images: list[str] | None = None
    origin: Origin = field(default=Origin(), compare=False)

    @property
    def shown(self) -> list[Message]:
        """The messages with an ``<image>`` for each image, where the model saw it."""
        return with_placeholders(self.messages, self.images)

    @property
    def problem(self) -> str:
        """The data set's own `problem`, or else what the user asked last."""
        found = self.origin.metadata.get("problem")
        if isinstance(found, str):
            return found
        return next((str(m["content"]) for m in reversed(self.messages) if m["role"] == "user"), "")

    @property
    def ground_truth(self) -> Any:
        """The data set's own `answer`, or else the reference."""
        return self.origin.metadata.get("answer", self.origin.reference)


Unit = Conversation | Pair | Answered
"""What a row is made of."""


class Format(Protocol):
    """A format of training data. It reads its own rows back, for an export is verified before it counts."""

    @property
    def filename(self) -> str:
        """Of the file: one object a line for .jsonl, a list of them for .json, a table for .parquet."""
        ...

    @property
    def takes(self) -> Takes:
        """What its rows are made of."""
        ...

    @property
    def holds(self) -> tuple[str, ...]:
        """The attributes of a unit that can be read back from a row, dotted: compared with the records."""
        ...

    def to_row(self, unit: Any, /) -> dict[str, Any]:
        """A row of the format."""
        ...

    def from_row(self, row: Mapping[str, Any], /) -> Unit:
        """What a trainer that reads the row would see."""
        ...


WHOLE = ("messages", "completion", "images")
"""Held by a format of conversations that changes nothing."""
BOTH = ("chosen", "rejected")
"""Held by a format of pairs that changes nothing."""


def differing(fmt: Format, found: Unit, wanted: Unit) -> str | None:
    """What a format holds in which a row that was read back differs from a unit; None where in nothing."""
    if type(found) is not type(wanted):
        return f"a {type(found).__name__}, not a {type(wanted).__name__}"
    for name in fmt.holds:
        if attrgetter(name)(found) != attrgetter(name)(wanted):
            return f"another {name.replace('.', ' ')}"
    return None


def with_placeholders(messages: list[Message], images: list[str] | None) -> list[Message]:
    """Messages with an ``<image>`` for each image; those that have any stay as they are.

    Without any, all images are shown before the text of the last user message (`winnow.images.in_parts`).
    """
    if not images or any(PLACEHOLDER in each["content"] for each in messages):
        return messages
    users = [index for index, each in enumerate(messages) if each["role"] == "user"]
    last = users[-1] if users else len(messages) - 1
    return [
        {**each, "content": PLACEHOLDER * len(images) + each["content"]} if index == last else each
        for index, each in enumerate(messages)
    ]


def without_placeholders(text: str) -> str:
    """A text without any ``<image>``, also where taking one out makes another."""
    while PLACEHOLDER in text:
        text = text.replace(PLACEHOLDER, "")
    return text.strip()
