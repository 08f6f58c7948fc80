"""What one request asks of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.records import Message, Prompt


@dataclass(frozen=True)
class Ask:
    """Some samples of one prompt that one request can draw.

    Attributes:
        prompt: what is asked.
        messages: what the model is shown: the student's messages, or the teacher's.
        first: the first sample's index.
        seed: the first sample's; each further one's is one higher, as vLLM seeds the choices of a request.
        ids: of the completions, in order.
    """

    prompt: Prompt
    messages: Sequence[Message]
    first: int
    seed: int
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, index: int) -> Ask:
        """One of them alone: it has the same seed as among the others."""
        return Ask(self.prompt, self.messages, self.first + index, self.seed + index, (self.ids[index],))
