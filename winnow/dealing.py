"""Deal rows over shards, in memory that grows neither with the rows nor with the shards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.arms import shard_name

HELD_BYTES = 4 << 20
"""What is kept back before it is appended to the shards. One shard is open at a time, so that
thousands of them need no more open files than one."""


@contextmanager
def dealing(folder: Path, num_shards: int) -> Iterator[jsonl.Write]:
    """A function that gives each row to the next shard in turn, the first one again after the last.

    The shards, ``00000-of-00004.jsonl`` and so on, appear in `folder` when the block ends well; a
    block that raises leaves none of them.
    """
    shards = [folder / f"{shard_name(index, num_shards)}.jsonl" for index in range(num_shards)]
    partials = [shard.with_name(f"{shard.name}.partial") for shard in shards]
    held = [bytearray() for _ in shards]
    size = turn = 0

    def deal(row: Any) -> None:
        nonlocal size, turn
        line = jsonl.dumps(row)
        held[turn] += line
        size += len(line)
        turn = (turn + 1) % num_shards
        if size > HELD_BYTES:
            append()

    def append() -> None:
        nonlocal size
        for partial, lines in zip(partials, held, strict=True):
            if lines:
                with partial.open("ab") as file:
                    file.write(lines)
                lines.clear()
        size = 0

    with jsonl.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for partial in partials:
                partial.write_bytes(b"")
            yield deal
            append()
            for shard, partial in zip(shards, partials, strict=True):
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(shard)
        except BaseException:
            for partial in partials:
                partial.unlink(missing_ok=True)
            raise
