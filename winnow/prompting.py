"""From a data set's rows to prompts with stable, unique ids."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from winnow.adapters.example import Adapter, Example
from winnow.duplicates import Duplicates
from winnow.errors import UserError
from winnow.images import PLACEHOLDER, located, placeholders
from winnow.prompt_images import digest
from winnow.records import Json, Message, Prompt, content_id
from winnow.templates import conversation

log = logging.getLogger("prompts")

PASSED_ON = ("messages", "images", "id")
"""Fields of a row that have a place of their own in a prompt and are not repeated as metadata."""


@dataclass(frozen=True)
class PromptTemplates:
    """What is shown of a row; None for the teacher means: the same as the student."""

    student: str = "{{ prompt }}"
    student_system: str | None = None
    teacher: str | None = None
    teacher_system: str | None = None


def read_prompts(
    dataset: Iterable[tuple[str, dict[str, Any]]],
    adapter: Adapter,
    templates: PromptTemplates,
    image_root: str | None = None,
    drop_duplicates: bool = False,
) -> Iterator[Prompt]:
    """Yield a prompt for each (where, row).

    Memory does not grow with the rows: the ids that stood before lie in a temporary file.

    Args:
        dataset: where a row stands, and the row.
        adapter: reads a row.
        templates: what is shown of it.
        image_root: the folder of the images, which have to be there and whose digests go into the prompts;
            None looks for none.
        drop_duplicates: leave out rows that are equal to one before them; how many is logged at the end.

    Raises:
        UserError: a row that the adapter or a template cannot read, or that asks nothing; an id that stood
            before (unless its row is dropped); or images that are not there or are other than the messages
            show.
    """
    root = None if image_root is None else Path(image_root)
    unshown, first = 0, ""
    with closing(Duplicates(drop_duplicates)) as duplicates:
        for where, row in dataset:
            example = adapter(row, where)
            metadata = _kept(example, row, where)
            fields = row if example.metadata is None else {**row, **metadata}
            messages, teacher_messages = _conversations(example, fields, templates, where)
            if not example.images:
                _check_asked("student", messages, where)
                _check_asked("teacher", teacher_messages or messages, where)
            asked = orjson.dumps([messages, example.images]).decode()
            prompt_id = example.id or content_id(asked)
            if duplicates.dropped(prompt_id, example, asked, where):
                continue
            digests = None
            if example.images:
                shown = [messages, teacher_messages or []]
                digests = _looked_at(example.images, shown, root, f"{where}: prompt {prompt_id}")
            elif any(PLACEHOLDER in str(each["content"]) for each in messages):
                unshown, first = unshown + 1, first or where
            yield Prompt(
                id=prompt_id,
                messages=messages,
                teacher_messages=teacher_messages,
                reference=example.reference,
                images=example.images,
                metadata=metadata,
                image_sha256=digests,
            )
        duplicates.tell()
    if unshown:
        log.warning(
            "%d prompts have %s in their text and no images, the first in %s: that is shown as text. Where "
            "an image is meant, have the adapter find it: it looks in the field `images`",
            unshown,
            PLACEHOLDER,
            first,
        )


def _kept(example: Example, row: dict[str, Any], where: str) -> Json:
    """What the record keeps of a row beside what has a place of its own in it."""
    kept = row if example.metadata is None else example.metadata
    metadata = {key: value for key, value in kept.items() if key not in PASSED_ON}
    try:
        orjson.dumps(metadata)
    except TypeError as error:
        raise UserError(
            where,
            f"{_unwritable(metadata)} cannot be written as JSON ({error})",
            "text, numbers, lists and mappings",
            "leave the field out of the data set, or choose an adapter that reads it",
        ) from None
    return metadata


def _unwritable(metadata: Json) -> str:
    for key, value in metadata.items():
        try:
            orjson.dumps({key: value})
        except TypeError:
            return f"{key!r} ({type(value).__name__})"
    return "the row"


def _looked_at(
    images: list[str], conversations: list[list[Message]], root: Path | None, where: str
) -> list[str] | None:
    """The digest of each image; None without a root."""
    for messages in filter(None, conversations):
        placeholders(messages, len(images), where)
    return None if root is None else [digest(file, where) for file in located(images, root, where)]


def _check_asked(role: str, messages: list[Message], where: str) -> None:
    """A last turn of the user that says nothing asks for text about nothing."""
    if messages and messages[-1]["role"] == "user" and not str(messages[-1]["content"]).strip():
        raise UserError(
            where,
            f"the {role}'s question is empty",
            "text in the user's last message",
            "check prompt.student and prompt.teacher of the config, and the fields that they name",
        )


def _conversations(
    example: Example, row: dict[str, Any], templates: PromptTemplates, where: str
) -> tuple[list[Message], list[Message] | None]:
    """What the student and the teacher see."""
    # What a row lacks is undefined in a template, not the word "None".
    named = {"prompt": example.prompt, "reference": example.reference}
    fields = {key: value for key, value in {**row, **named}.items() if value is not None}
    shows_teacher = templates.teacher is not None or templates.teacher_system is not None
    if example.messages is None:
        student = conversation(templates.student_system, templates.student, fields, where)
        if not shows_teacher:
            return student, None
        teacher = templates.teacher or templates.student
        return student, conversation(templates.teacher_system, teacher, fields, where)
    if templates.student != PromptTemplates.student or templates.student_system:
        raise UserError(
            where,
            "a conversation (`messages`), and a template for the student's prompt",
            "one of the two: a conversation is shown as it stands",
            "leave out the student's templates, or choose an adapter that reads a prompt field",
        )
    if not shows_teacher:
        return example.messages, None
    # A conversation keeps its turns; the teacher's template rewrites the last user message.
    *earlier, last = example.messages
    fields["prompt"] = last["content"]
    rewritten = conversation(templates.teacher_system, templates.teacher or "{{ prompt }}", fields, where)
    return example.messages, [*rewritten[:-1], *earlier, rewritten[-1]]
