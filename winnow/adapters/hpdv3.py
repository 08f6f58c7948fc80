"""Pairs of images of which people preferred one, as HPDv3 publishes them (arXiv 2508.03789)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from winnow.adapters.example import Adapter, Example
from winnow.adapters.fields import has, id_of
from winnow.errors import UserError
from winnow.records import content_id
from winnow.templates import render

TASK = """\
Two images were made from this description: {{ prompt }}

Image 1: <image>
Image 2: <image>

Which one is better? Judge how well each follows the description, how well it is made, and how it looks.

{{ answer_form }}"""

WITH_COT = """\
Reason between <think> and </think> first. Then end with <answer>Image 1 is better</answer> or \
<answer>Image 2 is better</answer>."""
WITHOUT_COT = """\
Give <answer>Image 1 is better</answer> or <answer>Image 2 is better</answer>, and nothing else."""


def hpdv3(seed: int = 0, use_cot: bool = True, task_instruction: str | None = None) -> Adapter:
    """Rows of ``{path1, path2, prompt, …}``, path1 being the preferred image.

    Which of the two is shown first is drawn for each row from the seed and the row's id. It is part of the
    record: `images` in the order shown, the reference for that order, and `preference` in the metadata: A
    where the first image shown is the preferred one, else B.

    Args:
        seed: of the order; the run's unless given.
        use_cot: ask for reasoning before the answer.
        task_instruction: what is asked instead of `TASK`: a Jinja template over the row's fields, `use_cot`
            and `answer_form`, the sentence that asks for reasoning or for none.

    Raises:
        UserError: an option of another type, or a task_instruction in which use_cot changes nothing.
    """
    for name, value, right, wanted in (
        ("seed", seed, isinstance(seed, int), "a whole number"),
        ("use_cot", use_cot, isinstance(use_cot, bool), "true or false"),
        ("task_instruction", task_instruction, isinstance(task_instruction, str | None), "text"),
    ):
        if not right:
            raise UserError(f"option {name!r}", f"{value!r}", wanted, "correct the option")
    template = TASK if task_instruction is None else task_instruction
    if not use_cot and "use_cot" not in template and "answer_form" not in template:
        raise UserError(
            "option 'use_cot'",
            "false, and a task_instruction that says neither use_cot nor answer_form",
            "a task_instruction that asks for the answer alone where it is told to",
            "write {{ answer_form }} in it, or {% if use_cot %}…{% endif %}",
        )
    asked = {"use_cot": use_cot, "answer_form": WITH_COT if use_cot else WITHOUT_COT}

    def read(row: Mapping[str, Any], where: str) -> Example:
        preferred, other, caption = (_text(row, key, where) for key in ("path1", "path2", "prompt"))
        if preferred == other:
            raise UserError(
                where, f"path1 and path2 are {other!r}", "two images", "remove the row, or correct it"
            )
        row_id = id_of(row) or content_id(orjson.dumps([caption, preferred, other]).decode())
        first = preferred_first(seed, row_id)
        return Example(
            prompt=render(template, {**row, **asked}, where),
            reference=f"Image {1 if first else 2} is better",
            id=row_id,
            images=[preferred, other] if first else [other, preferred],
            metadata={key: row[key] for key in row if key != "id"} | {"preference": "A" if first else "B"},
        )

    return read


def preferred_first(seed: int, row_id: str) -> bool:
    """Whether the preferred image is shown first: a fair bit that depends on (seed, row id) alone."""
    key = f"image order\0{seed}\0{row_id}".encode()
    return bool(hashlib.blake2b(key, digest_size=1).digest()[0] & 1)


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            where,
            f"no text in {field!r} ({has(row)})",
            "path1 (the preferred image), path2 and prompt",
            "mend the row",
        )
    return value
