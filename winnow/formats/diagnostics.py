"""The q* diagnostics of completions, read prompt by prompt beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from winnow import jsonl

Row = dict[str, Any]


class Diagnostics:
    """Diagnostics files of all blocks, in the order of the prompts.

    Args:
        files: shard by shard, block by block, as generate.py writes them.
        blocks: blocks of each shard.
    """

    def __init__(self, files: Sequence[Path], blocks: int) -> None:
        self._streams = [
            chain.from_iterable(jsonl.rows(file) for file in files[block::blocks]) for block in range(blocks)
        ]
        self._heads = [next(stream, None) for stream in self._streams]

    def of(self, prompt_id: str) -> dict[str, Row]:
        """The rows of a prompt by completion id. Every prompt has to be asked for, in order."""
        found: dict[str, Row] = {}
        for index, stream in enumerate(self._streams):
            for row in self._of(index, stream, prompt_id):
                found[row["id"]] = row
        return found

    def _of(self, index: int, stream: Iterator[Row], prompt_id: str) -> Iterator[Row]:
        while (head := self._heads[index]) is not None and head["prompt_id"] == prompt_id:
            yield head
            self._heads[index] = next(stream, None)
