"""The examples that a selection ends with: a random subset of equal size, counted by examples."""

from __future__ import annotations

import dataclasses
import heapq
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from winnow.selection.decision import ACCEPTED, OVER_BUDGET, REFUSED, REJECTED, Decision
from winnow.selection.groups import Group
from winnow.selection.pairs import draw_key
from winnow.selection.selector import Decided

Row = Mapping[str, Any]


def example_keys(completions: list[dict[str, Any]], decisions: list[Decision], seed: int) -> dict[int, int]:
    """The random key of each accepted completion's example, by index.

    A pair is one example: both members have the key of the chosen one.
    """
    own = {
        i: draw_key(seed, row["id"])
        for i, (row, d) in enumerate(zip(completions, decisions, strict=True))
        if d.outcome == ACCEPTED
    }
    chosen = {decisions[i].pair: key for i, key in own.items() if decisions[i].role != REFUSED}
    return {i: chosen[decisions[i].pair] if decisions[i].role == REFUSED else key for i, key in own.items()}


def within_budget(
    group: Group, decisions: list[Decision], limit: int, asked: int, seed: int
) -> list[Decision]:
    """The decisions when examples whose key is above `limit` are left out."""
    keys = example_keys(group.candidates, decisions, seed)
    over = Decision(REJECTED, f"{OVER_BUDGET} = {asked}")
    return [over if keys.get(i, limit) > limit else d for i, d in enumerate(decisions)]


@contextmanager
def budgeted(
    decided: Iterable[Decided], groups: Iterable[Group], asked: int | None, seed: int, folder: Path
) -> Iterator[Iterator[Decided]]:
    """Groups and decisions, of which a random subset of at most `asked` examples is left accepted.

    The decisions lie in a file while the keys are compared: what decides may remember what it has seen,
    and is asked once.

    Args:
        decided: the groups and what was decided of them.
        groups: the same groups again.
        asked: None leaves all as they are, and reads nothing twice.
        seed: of the subset.
        folder: where the file lies; it has no name.
    """
    if asked is None:
        yield iter(decided)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        limit = _largest_key(_noted(decided, file), asked, seed)
        file.seek(0)
        yield (
            (group, within_budget(group, decisions, limit, asked, seed))
            for group, decisions in zip(groups, map(_read, file), strict=True)
        )


def _noted(decided: Iterable[Decided], file: IO[bytes]) -> Iterator[Decided]:
    for group, decisions in decided:
        file.write(orjson.dumps([dataclasses.astuple(d) for d in decisions]) + b"\n")
        yield group, decisions


def _read(line: bytes) -> list[Decision]:
    return [Decision(*each) for each in orjson.loads(line)]


def _largest_key(decided: Iterable[Decided], count: int, seed: int) -> int:
    """The key up to which examples make a random subset of `count`."""
    smallest = heapq.nsmallest(
        count,
        (
            key
            for group, decisions in decided
            for i, key in example_keys(group.candidates, decisions, seed).items()
            if decisions[i].role != REFUSED
        ),
    )
    return smallest[-1] if smallest else 0
