"""q* on a server: the teacher is served, and its engine hosts the student; see `qstar.vllm_processor`."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.records import Prompt
from winnow.serving.chat_model import ChatModel
from winnow.serving.token_metrics import Reader

ROOT = Path(__file__).resolve().parents[2]
PROCESSOR = "winnow.qstar.vllm_processor:QStarProcessor"


@dataclass(frozen=True)
class Mixture:
    """What a served q* is.

    Attributes:
        student: the model that the teacher's engine hosts.
        alpha: how to mix.
        dtype: of the student's weights.
        slots: completions in progress at a time; the student's cache has room for so many.
        capacity: tokens of the longest of them, as the student sees it.
        folder: where the engine tells of each token.
    """

    student: ChatModel
    alpha: str
    dtype: str
    slots: int
    capacity: int
    folder: Path

    @staticmethod
    def of(
        student: ChatModel,
        prompts: Iterable[Prompt],
        alpha: str,
        dtype: str,
        slots: int,
        new_tokens: int,
        folder: Path,
    ) -> Mixture:
        """With room for these prompts and so many new tokens."""
        longest = max((len(student.prompt(prompt)) for prompt in prompts), default=1)
        # The token that is read beside those that are held.
        capacity = min(longest + new_tokens, student.context) + 1
        return Mixture(student, alpha, dtype, slots, capacity, folder)

    def arguments(self) -> list[str]:
        """Of vLLM's server."""
        settings = {
            "student": str(self.student.root.resolve()),
            "alpha": self.alpha,
            "dtype": self.dtype,
            "capacity": self.capacity,
            "metrics": str(self.folder),
            "trust_remote_code": self.student.trust_remote_code,
        }
        return [
            f"--logits-processors={PROCESSOR}",
            f"--additional-config={json.dumps({'winnow': settings})}",
            f"--max-num-seqs={self.slots}",
        ]

    def environment(self) -> dict[str, str]:
        """In which vLLM's process finds the processor, and has its interface."""
        inherited = os.environ.get("PYTHONPATH")
        return {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *([inherited] if inherited else [])]),
            # The second runner, which vLLM prefers on GPUs, has another interface for processors.
            "VLLM_USE_V2_MODEL_RUNNER": "0",
        }

    def request(self, prompt: Prompt, new_tokens: int) -> dict[str, Any]:
        """What a request has besides the teacher's messages."""
        ids = self.student.prompt(prompt)
        return {
            "vllm_xargs": {"student_prompt": ids},
            "stop_token_ids": self.student.eos_ids,
            "max_tokens": min(new_tokens, self.student.context - len(ids)),
        }

    def too_long(self, prompt: Prompt) -> str | None:
        """Why the student has no room for a completion; None where it has."""
        count = len(self.student.prompt(prompt))
        if count < self.student.context:
            return None
        return (
            f"the student's prompt has {count} tokens, the context of {self.student.root} "
            f"has {self.student.context}"
        )

    @functools.cached_property
    def told(self) -> Reader:
        """What the engine tells of each token; one reader for all blocks, for it reads from the beginning."""
        return Reader(self.folder)
