"""Adapters: from a data set's own row to (prompt or messages, reference, id, images)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow import plugins
from winnow.adapters.example import Adapter, Example, is_conversation
from winnow.adapters.plugin import plugin_adapter
from winnow.errors import UserError

PROMPT_FIELDS = ("prompt", "problem", "question", "instruction", "input", "text")
BUILTIN = ("auto", "generic", "messages")
RESPONSE_FIELDS = ("reference", "answer", "response", "solution", "output", "completion")


def adapter(name: str, prompt_field: str | None = None, response_field: str | None = None) -> Adapter:
    """The adapter of that name.

    Args:
        name: `auto` (messages if the row has them, else fields by their usual names), `generic`
            (the fields that are given), `messages`, or the import path of a user's own.
        prompt_field: the field of the prompt; None finds it by its usual names.
        response_field: the field of the reference; None finds it by its usual names.

    Raises:
        UserError: an unknown name, `generic` without a prompt field, or a plug-in that is no adapter or
            is given fields that only the built-in ones look at.
    """
    if plugins.is_import_path(name):
        if prompt_field is not None or response_field is not None:
            raise UserError(
                f"adapter {name!r}",
                f"prompt_field {prompt_field!r} and response_field {response_field!r}",
                "neither: an adapter of your own knows its fields",
                "leave both out",
            )
        return plugin_adapter(name)
    if name not in BUILTIN:
        raise plugins.unknown("adapter", name, BUILTIN)
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
    messages: Any = row.get("messages")
    if not is_conversation(messages):
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
