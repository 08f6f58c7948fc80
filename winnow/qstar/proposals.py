"""What the models propose in a round: drafted tokens, and both models' distributions at each of them.

Three ways to run the models stand behind one interface: one model alone, a student that drafts for a
teacher, and one set of weights that sees two prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

Choose = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From logits [rows, vocabulary] and the place in the round: (drafted tokens [rows], log-probabilities
[rows, vocabulary] that they were drawn from)."""

Rounded = Callable[[int], int] | None
"""What a span is rounded up to; see `decoder.Decoder.place`."""

Images = tuple[Path, ...]

Prompts = tuple[tuple[int, ...], ...]
"""A sequence's prompts: the student's and the teacher's, or the one model's."""


@dataclass(frozen=True)
class Proposal:
    """A round's drafts.

    Attributes:
        drafts: [rows, K] int64.
        log_draft: what they were drawn from, [rows, K, vocabulary].
        first: logits of the student, or of the one model, [rows, K, vocabulary].
        second: logits of the teacher; None where one model runs.
    """

    drafts: Tensor
    log_draft: Tensor
    first: Tensor
    second: Tensor | None = None


class Decodes(Protocol):
    """What is asked of a decoder: see `decoder.Decoder`."""

    crops: bool
    device: torch.device

    def admit(self, entries: Sequence[tuple[int, Any]], images: Mapping[int, Images]) -> None: ...
    def place(self, rows: int, new: int, going: int | None = None, rounded: Rounded = None) -> int: ...
    def forward(self, tokens: Tensor, ahead: int = 0) -> Tensor: ...
    def advance(self, counts: Sequence[int]) -> None: ...
    def move(self, source: int, target: int) -> None: ...
    def wipe(self, slot: int, whole: bool) -> None: ...


class Proposer(Protocol):
    """How the models are run.

    Attributes:
        deepest: tokens that may be drafted in a round; None is no limit.
        device: where drafts are made.
    """

    deepest: int | None
    device: torch.device

    def admit(self, entries: Sequence[tuple[int, Prompts]], images: Mapping[int, Images]) -> None:
        """Put sequences into slots; the images of those that have any are shown to every model."""

    def place(self, rows: int, depth: int, going: int, rounded: Rounded) -> tuple[int, ...]:
        """Tell the device where the leading slots stand, of which the first `going` are in use.

        What `propose` does after it depends on nothing on the host but rows, depth and the spans, which
        are returned: it can be recorded for these, and replayed. See `decoder.Decoder.place`.
        """
        ...

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        """Draft for the leading slots, whose last tokens are given: each model's own, [rows, models]."""
        ...

    def advance(self, counts: Sequence[int]) -> None:
        """Keep so many tokens of the round in each of the leading slots."""

    def move(self, source: int, target: int) -> None:
        """Continue a slot's sequence in another slot."""

    def wipe(self, slot: int, whole: bool) -> None:
        """Clear what lies beyond a slot's sequence, or all of it."""


class _Together:
    """Decoders whose slots are the same sequences."""

    def __init__(self, *decoders: Decodes) -> None:
        self._decoders = decoders
        self.device = decoders[0].device

    def admit(self, entries: Sequence[tuple[int, Prompts]], images: Mapping[int, Images]) -> None:
        for index, decoder in enumerate(self._decoders):
            decoder.admit([(slot, prompts[index]) for slot, prompts in entries], images)

    def place(self, rows: int, depth: int, going: int, rounded: Rounded) -> tuple[int, ...]:
        return tuple(decoder.place(rows, depth, going, rounded) for decoder in self._decoders)

    def advance(self, counts: Sequence[int]) -> None:
        for decoder in self._decoders:
            decoder.advance(counts)

    def move(self, source: int, target: int) -> None:
        for decoder in self._decoders:
            decoder.move(source, target)

    def wipe(self, slot: int, whole: bool) -> None:
        for decoder in self._decoders:
            decoder.wipe(slot, whole)


class OneModel(_Together):
    """The policy or the teacher alone: what it draws is the completion."""

    deepest: int | None = 1

    def __init__(self, decoder: Decodes) -> None:
        super().__init__(decoder)
        self._decoder = decoder

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        logits = self._decoder.forward(last)
        drafts, log_draft = choose(logits[:, 0], 0)
        return Proposal(drafts[:, None], log_draft[:, None], logits)


class StudentDrafts(_Together):
    """The student drafts token by token; the teacher reads them in one pass."""

    def __init__(self, theta: Decodes, t: Decodes) -> None:
        super().__init__(theta, t)
        self._theta, self._t = theta, t
        self.deepest: int | None = None if theta.crops and t.crops else 1

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        own, teachers = last.unbind(dim=1)
        drafts: list[Tensor] = []
        drawn_from: list[Tensor] = []
        logits: list[Tensor] = []
        for place in range(depth):
            read = drafts[-1] if drafts else own
            logits.append(self._theta.forward(read[:, None], place)[:, 0])
            draft, log_draft = choose(logits[-1], place)
            drafts.append(draft)
            drawn_from.append(log_draft)
        second = self._t.forward(torch.stack([teachers, *drafts[:-1]], dim=1).to(self._t.device))
        return Proposal(
            torch.stack(drafts, dim=1),
            torch.stack(drawn_from, dim=1),
            torch.stack(logits, dim=1),
            second.to(self.device),
        )


class TwoPrompts:
    """One set of weights sees the student's and the teacher's prompt: one pass over twice the rows.

    Drafting gains nothing, for the student is no faster than the teacher. Sequence i stands in the
    slots 2i (student) and 2i + 1 (teacher).
    """

    deepest: int | None = 1

    def __init__(self, decoder: Decodes) -> None:
        self._decoder = decoder
        self.device = decoder.device

    def admit(self, entries: Sequence[tuple[int, Prompts]], images: Mapping[int, Images]) -> None:
        both = {2 * slot + i: files for slot, files in images.items() for i in (0, 1)}
        self._decoder.admit([(2 * slot + i, prompts[i]) for slot, prompts in entries for i in (0, 1)], both)

    def place(self, rows: int, depth: int, going: int, rounded: Rounded) -> tuple[int, ...]:
        return (self._decoder.place(2 * rows, depth, 2 * going, rounded),)

    def propose(self, last: Tensor, depth: int, choose: Choose) -> Proposal:
        logits = self._decoder.forward(last.reshape(-1, 1))
        first, second = logits.view(len(last), 2, 1, -1).unbind(dim=1)
        drafts, log_draft = choose(first[:, 0], 0)
        return Proposal(drafts[:, None], log_draft[:, None], first, second)

    def advance(self, counts: Sequence[int]) -> None:
        self._decoder.advance([count for count in counts for _ in (0, 1)])

    def move(self, source: int, target: int) -> None:
        for i in (0, 1):
            self._decoder.move(2 * source + i, 2 * target + i)

    def wipe(self, slot: int, whole: bool) -> None:
        for i in (0, 1):
            self._decoder.wipe(2 * slot + i, whole)
