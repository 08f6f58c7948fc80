"""Scored completions, prompt by prompt, in constant memory; every sample must be there once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import Prompt
from winnow.shards import read_prompts

MEND = "check --block_size (the samples of each prompt in a file) and --num_shards; else make the file again"


@dataclass(frozen=True)
class Group:
    """A prompt and its first n scored completions, by sample.

    Attributes:
        prompt: the prompt.
        completions: what was drawn of it, or failed to be.
        reference: its reference as one more candidate (`winnow.selection.references`); None for none.
    """

    prompt: Prompt
    completions: list[dict[str, Any]]
    reference: dict[str, Any] | None = None

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The completions, and behind them the reference where it is a candidate."""
        return self.completions if self.reference is None else [*self.completions, self.reference]


def read_groups(
    prompts: Sequence[str | Path], scored: Sequence[str | Path], n: int, block_size: int
) -> Iterator[Group]:
    """Yield each prompt with its samples 0 … n−1.

    Args:
        prompts: prompt shards.
        scored: for each shard in turn its blocks in turn: len(prompts) × blocks files.
        n: samples to take of each prompt.
        block_size: samples in a block.

    Raises:
        UserError: a sample is missing, doubled or out of place: the message names it.
    """
    blocks = -(-n // block_size)
    if len(scored) != len(prompts) * blocks:
        raise UserError(
            "--input",
            f"{len(scored)} files",
            f"{blocks} blocks for each of {len(prompts)} prompt shards: n = {n}, {block_size} in a block",
            "pass, for each prompt shard in order, its blocks in order",
        )
    for index, shard in enumerate(prompts):
        files = scored[index * blocks : (index + 1) * blocks]
        streams = [jsonl.numbered(file) for file in files]
        for prompt in read_prompts([shard]):
            completions: list[dict[str, Any]] = []
            for file, stream in zip(files, streams, strict=True):
                for _ in range(block_size):
                    row = _next(stream, file, prompt.id, len(completions))
                    completions.append(row)
            yield Group(prompt, completions[:n])
        for file, stream in zip(files, streams, strict=True):
            extra = next(stream, None)
            if extra is not None:
                raise UserError(
                    f"{file}, line {extra[0]}",
                    f"completion {extra[1].get('id')!r} belongs to no prompt of {shard}",
                    "one row for each prompt and sample",
                    MEND,
                )


def _next(
    stream: Iterator[tuple[int, dict[str, Any]]], file: str | Path, prompt_id: str, sample: int
) -> dict[str, Any]:
    number, row = next(stream, (0, {}))
    if row and "scores" not in row:
        raise UserError(
            f"{file}, line {number}",
            "a completion without scores",
            "scored completions",
            "run score.py on it first",
        )
    if row.get("prompt_id") != prompt_id or row.get("sample") != sample:
        found = f"line {number} has {row.get('id')!r}" if row else "the file ends"
        raise UserError(file, found, f"scored completion {f'{prompt_id}/{sample}'!r} in its place", MEND)
    return row
