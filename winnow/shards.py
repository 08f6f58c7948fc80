"""The files of a sharded stage, given one by one or as their folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from winnow import jsonl
from winnow.arms import blocks_for, shard_name
from winnow.errors import UserError
from winnow.records import Prompt


def read_prompts(paths: Iterable[str | Path]) -> Iterator[Prompt]:
    """The prompts of some shards, in order.

    Raises:
        UserError: a line that is not a prompt.
    """
    for path in paths:
        for number, row in jsonl.numbered(path):
            yield Prompt.from_row(row, f"{path}, line {number}")


class PromptFiles(Collection[Prompt]):
    """The prompts of some shards, read anew for each pass: however many they are, none stays in memory.

    Attributes:
        images: whether any prompt has images.

    Raises:
        UserError: a line that is not a prompt; in a later pass, files that have changed since the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen = self._states()
        self._count = 0
        self.images = False
        for prompt in read_prompts(paths):
            self._count += 1
            self.images = self.images or bool(prompt.images)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Prompt]:
        for path, seen, now in zip(self._paths, self._seen, self._states(), strict=True):
            if now != seen:
                raise UserError(
                    path,
                    "it has changed since this job began",
                    "the same prompts from the first completion to the last",
                    "run again",
                )
        return read_prompts(self._paths)

    def __contains__(self, prompt: object) -> bool:
        return any(each == prompt for each in self)

    def _states(self) -> list[tuple[int, int, int]]:
        states = [path.stat() for path in self._paths]
        return [(state.st_ino, state.st_size, state.st_mtime_ns) for state in states]


def shard_files(given: Sequence[str], num_shards: int) -> list[Path]:
    """Prompt shards in order: the files that are given, or those of one folder.

    A folder keeps a command short however many shards there are.

    Raises:
        UserError: a shard is missing.
    """
    if len(given) == 1 and Path(given[0]).is_dir():
        folder = Path(given[0])
        return _present([folder / f"{shard_name(i, num_shards)}.jsonl" for i in range(num_shards)])
    return _present([Path(path) for path in given])


def block_files(given: Sequence[str], num_shards: int, n: int, block_size: int) -> list[Path]:
    """The blocks that hold the first n samples, shard by shard and block by block.

    Raises:
        UserError: a block is missing.
    """
    if len(given) == 1 and Path(given[0]).is_dir():
        folder = Path(given[0])
        return _present(
            [
                folder / f"{shard_name(shard, num_shards)}.block-{block}.jsonl"
                for shard in range(num_shards)
                for block in blocks_for(n, block_size)
            ]
        )
    return _present([Path(path) for path in given])


def _present(paths: list[Path]) -> list[Path]:
    for path in paths:
        if not path.is_file():
            raise UserError(
                path, "no such file", "every shard and block of the stage before", "run that stage first"
            )
    return paths
