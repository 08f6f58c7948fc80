"""What the rows of a run's files were made of: completions with their prompts, as the stages read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from winnow import jsonl
from winnow.arms import Arm, blocks_for
from winnow.errors import UserError
from winnow.formats import sources
from winnow.formats.format import Format
from winnow.formats.sources import Source
from winnow.selection.groups import Group, read_groups
from winnow.shards import read_prompts
from winnow.tracing.run import Run


def sources_of(run: Run, arm: Arm, fmt: Format | None) -> Iterator[Source]:
    """The completions that a file of this format was made of, in its order; of no format, the accepted ones.

    Raises:
        UserError: a file of the run is not there any more, or does not fit the others.
    """
    if fmt is not None and fmt.takes == "all":
        return sources.scored(groups_of(run, arm))
    return sources.accepted(run.selected(arm, "accepted.jsonl"), read_prompts(run.prompts()))


def there(run: Run, arm: Arm, fmt: Format | None) -> bool:
    """Whether the records that a file of this format was made of are still there."""
    scored = fmt is not None and fmt.takes == "all"
    accepted = run.selected(arm, "accepted.jsonl").is_file()
    return bool(run.prompts()) and (bool(run.blocks("scored", arm)) if scored else accepted)


def groups_of(run: Run, arm: Arm) -> Iterator[Group]:
    """The prompts with the first n of their scored completions.

    Raises:
        UserError: as `sources_of`.
    """
    scored = run.blocks("scored", arm)
    shards = _last_scored(run.prompts(), scored)
    stems = tuple(f"{shard.stem}.block-" for shard in shards)
    first = next((path for path in scored if path.name.startswith(stems) and path.stat().st_size), None)
    if first is None:
        raise UserError(
            run.folder("scored", arm),
            "no scored completions",
            "those that the file was made of",
            "run the pipeline again: it makes what is missing",
        )
    # Every block has as many samples of each prompt.
    _, rows = next(groupby(jsonl.rows(first), key=lambda row: row["prompt_id"]))
    size = sum(1 for _ in rows)
    blocks = [
        run.folder("scored", arm) / f"{shard.stem}.block-{block}.jsonl"
        for shard in shards
        for block in blocks_for(arm.n, size)
    ]
    return read_groups(shards, blocks, arm.n, size)


def _last_scored(shards: Sequence[Path], scored: Sequence[Path]) -> list[Path]:
    """The shards of the number that was scored last: where the config once had another, both lie there."""
    if not scored:
        return []
    last = max(scored, key=lambda path: path.stat().st_mtime_ns).name.partition(".block-")[0]
    count = last.rpartition("-of-")[2]
    return [shard for shard in shards if shard.stem.rpartition("-of-")[2] == count]
