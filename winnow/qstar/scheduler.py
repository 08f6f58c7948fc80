"""Which rows are decoded together: a queue of rows, and a fixed number of slots that they pass through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from winnow.qstar.diagnostics import Values


@dataclass(frozen=True, slots=True)
class Row:
    """One completion to be drawn.

    Attributes:
        id: the completion's id.
        seed: its own seed.
        prompt: the student's prompt, token ids (the teacher's where only the teacher runs).
        teacher_prompt: the teacher's prompt where both run, else None.
        max_new_tokens: its own limit, so that it fits the context.
        images: files that each model sees in its prompt.
        digests: what they held when the prompt was read; None where nobody looked.
    """

    id: str
    seed: int
    prompt: tuple[int, ...]
    teacher_prompt: tuple[int, ...] | None
    max_new_tokens: int
    images: tuple[Path, ...] = ()
    digests: tuple[str, ...] | None = None

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """Of each model that runs."""
        return (self.prompt,) if self.teacher_prompt is None else (self.prompt, self.teacher_prompt)


@dataclass(slots=True)
class Sequence:
    """A row in its slot, and what was drawn of it so far.

    Attributes:
        row: what was asked for.
        tokens: the completion so far.
        logprobs: of each token, under what it was drawn from.
        metrics: of each token, [tokens, metrics] a round.
        finish_reason: why it ended; None while it goes on.
        detail: more about it, where it failed.
    """

    row: Row
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    metrics: list[Values] = field(default_factory=list)
    finish_reason: str | None = None
    detail: str | None = None

    @property
    def last(self) -> tuple[int, ...]:
        """The token that each model reads next: its prompt's last one at first."""
        prompts = self.row.prompts
        return (self.tokens[-1],) * len(prompts) if self.tokens else tuple(p[-1] for p in prompts)

    @property
    def table(self) -> Values | None:
        """The metrics of all its tokens, [tokens, metrics]."""
        return np.concatenate(self.metrics) if self.metrics else None


class Slots:
    """A queue of rows and the sequences in progress, which fill the leading slots.

    The longest rows come first: they show at once whether the memory suffices, and the short ones
    fill the end. Samples of one prompt follow each other, so that its prefill is shared. The order
    is free, for a completion depends on its seed alone.

    Args:
        rows: what is to be drawn.
        count: slots, at most; no more than there are rows.
    """

    def __init__(self, rows: Iterable[Row], count: int) -> None:
        self._queue = deque(
            sorted(
                rows,
                key=lambda row: (
                    -len(row.prompt),
                    -len(row.teacher_prompt or ()),
                    *row.prompts,
                    row.images,
                    row.id,
                ),
            )
        )
        self.count = min(count, len(self._queue))
        self.active: list[Sequence] = []

    @property
    def longest(self) -> list[int]:
        """Tokens of the longest row that waits, prompt and completion together, for each model."""
        lengths = ([len(prompt) + row.max_new_tokens for prompt in row.prompts] for row in self._queue)
        return [max(each) for each in zip(*lengths, strict=True)]

    def __bool__(self) -> bool:
        return bool(self._queue or self.active)

    def __len__(self) -> int:
        return len(self._queue) + len(self.active)

    def fill(self) -> list[tuple[int, Row]]:
        """Give free slots to rows that wait: (slot, row) for each."""
        admitted: list[tuple[int, Row]] = []
        for slot in range(self.count):
            taken = slot < len(self.active) and self.active[slot].finish_reason is None
            if taken or not self._queue:
                continue
            sequence = Sequence(self._queue.popleft())
            if slot < len(self.active):
                self.active[slot] = sequence
            else:
                self.active.append(sequence)
            admitted.append((slot, sequence.row))
        return admitted

    def close(self) -> list[tuple[int, int]]:
        """Close the gaps when no row waits any more: (source, target) slots of the moves."""
        moves: list[tuple[int, int]] = []
        slot = 0
        while slot < len(self.active):
            if self.active[slot].finish_reason is None:
                slot += 1
                continue
            last = self.active.pop()
            if slot < len(self.active):
                self.active[slot] = last
                if last.finish_reason is None:
                    moves.append((len(self.active), slot))
        return moves

    def restart(self, count: int) -> None:
        """Put everything in progress back at the head of the queue; go on with fewer slots."""
        going = [sequence.row for sequence in self.active if sequence.finish_reason is None]
        self._queue.extendleft(reversed(going))
        self.active, self.count = [], count
