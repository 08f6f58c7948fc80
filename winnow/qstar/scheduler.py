"""Which rows are decoded together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One completion to be drawn.

    Attributes:
        id: the completion's id.
        seed: its own seed.
        prompt: the student's prompt, token ids (the teacher's where only the teacher runs).
        teacher_prompt: the teacher's prompt where both run, else None.
        max_new_tokens: its own limit, so that it fits the context.
    """

    id: str
    seed: int
    prompt: tuple[int, ...]
    teacher_prompt: tuple[int, ...] | None
    max_new_tokens: int


def batches(rows: Iterable[Row], batch_size: int) -> Iterator[list[Row]]:
    """Rows in batches of like prompt length, the longest first.

    Like lengths waste no padding and keep a prompt's samples together, so that its prefill is
    shared; the longest first show at once whether the memory suffices. The order is free: a
    completion depends on its seed alone.
    """
    ordered = sorted(
        rows, key=lambda row: (-len(row.prompt), -len(row.teacher_prompt or ()), row.prompt, row.id)
    )
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]
