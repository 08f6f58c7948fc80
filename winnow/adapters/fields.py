"""Adapters: from a data set's own row to (prompt or messages, reference, id, images)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from winnow.errors import UserError, closest
from winnow.records import Message

PROMPT_FIELDS = ("prompt", "problem", "question", "instruction", "input", "text")
RESPONSE_FIELDS = ("reference", "answer", "response", "solution", "output", "completion")


@dataclass(frozen=True)
class Example:
    """What an adapter reads from one row.

    Attributes:
        prompt: the problem's text; None where the row has `messages`.
        messages: a conversation in OpenAI form, ending before the assistant's turn; or None.
        reference: the expected answer as text, or None.
        id: the row's own id, or None.
        images: paths, or None.
    """

    prompt: str | None
    messages: list[Message] | None
    reference: str | None
    id: str | None
    images: list[str] | None = None


Adapter = Callable[[Mapping[str, Any], str], Example]
"""Takes a row and where it stands (file and line); raises UserError for a row that it cannot read."""


def adapter(name: str, prompt_field: str | None = None, response_field: str | None = None) -> Adapter:
    """The adapter of that name.

    Args:
        name: `auto` (messages if the row has them, else fields by their usual names), `generic`
            (the fields that are given) or `messages`.
        prompt_field: the field of the prompt; None finds it by its usual names.
        response_field: the field of the reference; None finds it by its usual names.

    Raises:
        UserError: an unknown name, or `generic` without a prompt field.
    """
    known = ("auto", "generic", "messages")
    if name not in known:
        raise UserError(
            "dataset_adapter",
            f"{name!r}{closest(name, known)}",
            "one of " + ", ".join(known),
            "correct the name",
        )
    if name == "generic" and prompt_field is None:
        raise UserError(
            "dataset_adapter", "'generic' without prompt_field", "the prompt's field", "give prompt_field"
        )

    def read(row: Mapping[str, Any], where: str) -> Example:
        if name == "messages" or (name == "auto" and prompt_field is None and "messages" in row):
            return _from_messages(row, response_field, where)
        field = prompt_field or _first(row, PROMPT_FIELDS)
        prompt = row.get(field) if field else None
        if not isinstance(prompt, str) or not prompt.strip():
            wanted = repr(prompt_field) if prompt_field else "one of " + ", ".join(PROMPT_FIELDS)
            state = "is missing" if prompt is None else "is empty or not text"
            raise UserError(
                where,
                f"the prompt field {state} (the row has {', '.join(map(repr, row)) or 'no fields'})",
                f"the prompt in {wanted}",
                "set prompt_field to the right name, or mend the row",
            )
        return Example(prompt, None, _reference(row, response_field, where), _id(row), _images(row))

    return read


def _from_messages(row: Mapping[str, Any], response_field: str | None, where: str) -> Example:
    messages = row.get("messages")
    if not isinstance(messages, list) or not all(_is_message(m) for m in messages) or not messages:
        raise UserError(
            where,
            "'messages' is missing or not a list of {role, content}",
            "a conversation in OpenAI form",
            "choose another adapter, or mend the row",
        )
    reference = _reference(row, response_field, where)
    if messages[-1]["role"] == "assistant":
        reference = reference if reference is not None else str(messages[-1]["content"])
        messages = messages[:-1]
    return Example(None, messages, reference, _id(row), _images(row))


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and "content" in message


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def _reference(row: Mapping[str, Any], field: str | None, where: str) -> str | None:
    if field is not None and row.get(field) is None:
        raise UserError(
            where,
            f"no field {field!r} (the row has {', '.join(map(repr, row))})",
            "the reference in response_field",
            "set response_field to the right name, or mend the row",
        )
    name = field or _first(row, RESPONSE_FIELDS)
    return None if name is None else str(row[name])


def _id(row: Mapping[str, Any]) -> str | None:
    return None if row.get("id") is None else str(row["id"])


def _images(row: Mapping[str, Any]) -> list[str] | None:
    images = row.get("images")
    return [str(image) for image in images] if isinstance(images, list) else None
