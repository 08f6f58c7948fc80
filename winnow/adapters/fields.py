"""Rows whose prompt and reference are a field each, or a conversation: `auto`, `generic`, `messages`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.adapters.content_parts import joined
from winnow.adapters.example import Adapter, Example, before_the_answer, is_conversation
from winnow.adapters.image_files import ImageFiles, holds_image
from winnow.errors import UserError

PROMPT_FIELDS = ("prompt", "problem", "question", "instruction", "input", "text")
RESPONSE_FIELDS = ("reference", "answer", "response", "solution", "output", "completion")


def auto(
    prompt_field: str | None = None, response_field: str | None = None, image_root: str | None = None
) -> Adapter:
    """Messages if the row has them and no prompt field is given, else fields by their usual names.

    Args:
        prompt_field: the field of the prompt; None finds it by its usual names.
        response_field: the field of the reference; None finds it by its usual names.
        image_root: where images that a row holds as bytes are written.
    """
    prompts, talks = (
        generic_fields(prompt_field, response_field, image_root),
        messages(response_field, image_root),
    )

    def read(row: Mapping[str, Any], where: str) -> Example:
        return (talks if prompt_field is None and "messages" in row else prompts)(row, where)

    return read


def generic(
    prompt_field: str | None = None, response_field: str | None = None, image_root: str | None = None
) -> Adapter:
    """The fields that are given.

    Raises:
        UserError: no prompt field is given.
    """
    if prompt_field is None:
        raise UserError(
            "dataset_adapter", "'generic' without prompt_field", "the prompt's field", "give prompt_field"
        )
    return generic_fields(prompt_field, response_field, image_root)


def generic_fields(prompt_field: str | None, response_field: str | None, image_root: str | None) -> Adapter:
    """A field of the prompt and one of the reference, given or by their usual names."""
    files = ImageFiles(image_root)

    def read(row: Mapping[str, Any], where: str) -> Example:
        prompt = text_of(row, prompt_field, where)
        images, metadata = images_of(row, files, where)
        return Example(prompt, None, reference_of(row, response_field, where), id_of(row), images, metadata)

    return read


def messages(response_field: str | None = None, image_root: str | None = None) -> Adapter:
    """A conversation in OpenAI form under `messages`; a last turn of the assistant's is the reference."""
    files = ImageFiles(image_root)

    def read(row: Mapping[str, Any], where: str) -> Example:
        conversation: Any = row.get("messages")
        if not is_conversation(conversation):
            raise UserError(
                where,
                "'messages' is missing or not a list of {role, content}",
                "a conversation in OpenAI form",
                "choose another adapter, or mend the row",
            )
        told, named = joined(conversation, files, where)
        asked, reference = before_the_answer(told, reference_of(row, response_field, where))
        if not asked:
            raise UserError(
                where, "'messages' with nothing but an answer", "a question before it", "mend the row"
            )
        images, metadata = images_of(row, files, where)
        if named and images:
            raise UserError(
                where,
                f"{len(images)} images in 'images', and {len(named)} in the messages",
                "images in one of the two",
                "mend the row",
            )
        return Example(None, asked, reference, id_of(row), named or images, metadata)

    return read


def text_of(row: Mapping[str, Any], field: str | None, where: str) -> str:
    """The prompt's text: the field that is given, or the first of the usual names.

    Raises:
        UserError: it is missing, empty or no text.
    """
    name = field or first(row, PROMPT_FIELDS)
    text = row.get(name) if name else None
    if not isinstance(text, str) or not text.strip():
        wanted = repr(field) if field else "one of " + ", ".join(PROMPT_FIELDS)
        state = "is missing" if text is None else "is empty or not text"
        raise UserError(
            where,
            f"the prompt field {state} ({has(row)})",
            f"the prompt in {wanted}",
            "set prompt_field to the right name, or mend the row",
        )
    return text


def reference_of(row: Mapping[str, Any], field: str | None, where: str) -> str | None:
    """The reference as text: the field that is given, or the first of the usual names, or None.

    Raises:
        UserError: the field that is given is missing, or the reference is no one text.
    """
    if field is not None and row.get(field) is None:
        raise UserError(
            where,
            f"no field {field!r} ({has(row)})",
            "the reference in response_field",
            "set response_field to the right name, or mend the row",
        )
    name = field or first(row, RESPONSE_FIELDS)
    if name is None:
        return None
    text = one_text(row[name])
    if text is None:
        raise several(name, row[name], where, "name a field with one answer as response_field")
    return text


def one_text(value: Any) -> str | None:
    """A value as text, also where it is the only one of a list; None where it is not one but several.

    Data sets that allow for several accepted answers have a list of one where there is but one.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return None if value is None or isinstance(value, list | tuple | Mapping | bytes) else str(value)


def several(name: str, value: Any, where: str, mend: str) -> UserError:
    """The error of a field with several values where one text is expected."""
    kind = f"a list of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
    return UserError(
        where,
        f"{name!r} is {kind}: {value!r:.80}",
        "one answer: text, a number, or a list of one of these",
        f"{mend}, or choose among them in an adapter of your own (docs/data.md)",
    )


def id_of(row: Mapping[str, Any]) -> str | None:
    """The row's own id as text, or None."""
    return None if row.get("id") is None else str(row["id"])


def images_of(
    row: Mapping[str, Any], files: ImageFiles, where: str
) -> tuple[list[str] | None, dict[str, Any] | None]:
    """The paths of a row's `images`, a list or one; and the row without what holds images, or None for none.

    Raises:
        UserError: `images` that are neither.
    """
    given = row.get("images")
    if isinstance(given, str | dict):
        given = [given]
    if given is not None and not isinstance(given, list):
        raise UserError(where, f"'images' is {given!r:.80}", "a path, or a list of paths", "correct the row")
    images = None if given is None else [files.path(image, where) for image in given]
    held = [key for key, value in row.items() if holds_image(value)]
    return images, {key: value for key, value in row.items() if key not in held} if held else None


def first(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the names that the row has."""
    return next((name for name in names if row.get(name) is not None), None)


def has(row: Mapping[str, Any]) -> str:
    """What a row has, for a message."""
    return f"the row has {', '.join(map(repr, row)) or 'no fields'}"
