"""The records that flow between stages, one JSON object a line (docs/results.md).

Each record knows how to become a JSON row and how to be read from one; reading checks the
keys and types once, at the door, so that the stages need not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from winnow.errors import UserError

Json = dict[str, Any]
Message = dict[str, Any]
"""An OpenAI chat message: ``{"role": "system" | "user" | "assistant", "content": str}``."""


class Record:
    """Conversion between a frozen dataclass and a JSON row; None fields are left out."""

    kind: ClassVar[str]
    types: ClassVar[Mapping[str, tuple[type, ...]]]
    required: ClassVar[tuple[str, ...]]

    def to_row(self) -> Json:
        """The record as a JSON object, in field order."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {key: value for key, value in row.items() if value is not None}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], where: str) -> Self:
        """Read a record; `where` names the file and line.

        Raises:
            UserError: a required key is missing, or a key is unknown or has another type.
        """
        for key in cls.required:
            if row.get(key) is None:
                raise UserError(
                    where,
                    f"a {cls.kind} without {key!r} (it has {', '.join(row) or 'no keys'})",
                    f"every {cls.kind} has {', '.join(cls.required)}",
                    "make this file again with the stage that writes it",
                )
        for key, value in row.items():
            allowed = cls.types.get(key)
            if allowed is None or not (value is None or isinstance(value, allowed)):
                wanted = "no such key" if allowed is None else " or ".join(t.__name__ for t in allowed)
                raise UserError(
                    where,
                    f"a {cls.kind} whose {key!r} is {type(value).__name__}",
                    f"{wanted} for {key!r}",
                    "make this file again with the stage that writes it",
                )
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Prompt(Record):
    """One problem: what the student sees, what the teacher sees, and the reference answer.

    `image_sha256` has the content of each image when the prompt was read; None where nobody looked.
    """

    id: str
    messages: list[Message]
    teacher_messages: list[Message] | None = None
    reference: str | None = None
    images: list[str] | None = None
    metadata: Json = field(default_factory=dict)
    image_sha256: list[str] | None = None

    kind: ClassVar[str] = "prompt"
    required: ClassVar[tuple[str, ...]] = ("id", "messages")
    types: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "id": (str,),
        "messages": (list,),
        "teacher_messages": (list,),
        "reference": (str,),
        "images": (list,),
        "metadata": (dict,),
        "image_sha256": (list,),
    }


FINISH_REASONS = ("stop", "length", "prompt_too_long", "failed")
NOT_GENERATED = ("prompt_too_long", "failed")
"""Finish reasons of completions that no model produced; they have no text to score."""


@dataclass(frozen=True, slots=True)
class Completion(Record):
    """One sampled completion. `seed` alone, with model and prompt, determines the text."""

    id: str
    prompt_id: str
    sample: int
    seed: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    step: str
    alpha: str
    model: str
    teacher: str | None = None
    token_ids: list[int] | None = None
    detail: str | None = None
    reasoning: str | None = None
    logprobs: list[float] | None = None

    kind: ClassVar[str] = "completion"
    required: ClassVar[tuple[str, ...]] = (
        "id", "prompt_id", "sample", "seed", "text", "finish_reason",
        "prompt_tokens", "completion_tokens", "step", "alpha", "model",
    )  # fmt: skip
    types: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "id": (str,),
        "prompt_id": (str,),
        "sample": (int,),
        "seed": (int,),
        "text": (str,),
        "finish_reason": (str,),
        "prompt_tokens": (int,),
        "completion_tokens": (int,),
        "step": (str,),
        "alpha": (str,),
        "model": (str,),
        "teacher": (str,),
        "token_ids": (list,),
        "detail": (str,),
        "reasoning": (str,),
        "logprobs": (list,),
    }


def completion_id(prompt_id: str, sample: int) -> str:
    """``"<prompt>/<sample>"``, the id that every later stage joins on."""
    return f"{prompt_id}/{sample}"


def reference_id(prompt_id: str) -> str:
    """``"<prompt>/reference"``: of a prompt's reference where it stands among the completions."""
    # A completion's ends in a number.
    return f"{prompt_id}/reference"


def is_reference(row: Mapping[str, Any]) -> bool:
    """Whether a row is a prompt's reference among the completions: no model drew it."""
    return bool(row.get("is_reference"))


def completion_seed(run_seed: int, prompt_id: str, sample: int) -> int:
    """A 63-bit seed that depends on (run seed, prompt id, sample) and on nothing else."""
    key = f"{run_seed}\0{prompt_id}\0{sample}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def content_id(content: str) -> str:
    """An id for a prompt whose data set has none: a hash of its content."""
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
