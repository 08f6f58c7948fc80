"""From a data set's rows to prompts with stable, unique ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from winnow.adapters.example import Adapter, Example
from winnow.errors import UserError
from winnow.records import Message, Prompt, content_id
from winnow.templates import conversation

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
    dataset: Iterable[tuple[str, dict[str, Any]]], adapter: Adapter, templates: PromptTemplates
) -> Iterator[Prompt]:
    """Yield a prompt for each (where, row).

    Memory grows by one id and line number a row: the price of finding duplicates.

    Raises:
        UserError: a row that the adapter or a template cannot read, or an id that stood before.
    """
    seen: dict[str, str] = {}
    for where, row in dataset:
        example = adapter(row, where)
        messages, teacher_messages = _conversations(example, row, templates, where)
        prompt_id = example.id or content_id(orjson.dumps([messages, example.images]).decode())
        if prompt_id in seen:
            raise UserError(
                where,
                f"id {prompt_id!r} stands already in {seen[prompt_id]}",
                "one row for each id (without an 'id' field, one row for each prompt)",
                "remove one of the two rows, or give them ids of their own",
            )
        seen[prompt_id] = where
        yield Prompt(
            id=prompt_id,
            messages=messages,
            teacher_messages=teacher_messages,
            reference=example.reference,
            images=example.images,
            metadata={key: value for key, value in row.items() if key not in PASSED_ON},
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
