"""What rows are made of: completions with their prompts, grouped as a format takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from winnow import jsonl
from winnow.errors import UserError
from winnow.formats.diagnostics import Diagnostics
from winnow.formats.format import Answered, Conversation, Origin, Pair, Takes, Unit
from winnow.records import Prompt
from winnow.selection.groups import Group
from winnow.selection.strategies import PAIR_STRATEGIES

CHOSEN, REJECTED = "chosen", "rejected"
"""The `role` of the two members of a pair; a row without any counts as chosen."""
_TO_PAIR = f"selection.strategy: {PAIR_STRATEGIES[0]} (select.py --strategy {PAIR_STRATEGIES[0]})"


class Source(NamedTuple):
    """A completion's row, its prompt, and what is to be written of them."""

    row: dict[str, Any]
    prompt: Prompt
    conversation: Conversation


def require_pairs(path: str | Path, formats: Sequence[str]) -> None:
    """Check that a selection made pairs, for formats whose rows are pairs.

    Args:
        path: its accepted.jsonl.
        formats: their names; none wants no pairs.

    Raises:
        UserError: its first completion is a single one.
    """
    number, row = next(jsonl.numbered(path), (0, {"role": CHOSEN}))
    if formats and row.get("role") is None:
        raise UserError(
            f"{path}, line {number}, completion {row.get('id')}",
            f"a single completion, and the rows of {', '.join(formats)} are pairs",
            f"pairs, as selection makes them by strategy {' or '.join(PAIR_STRATEGIES)}",
            f"select with {_TO_PAIR}, or leave out {', '.join(formats)}",
        )


def accepted(
    path: str | Path, prompts: Iterable[Prompt], diagnostics: Diagnostics | None = None
) -> Iterator[Source]:
    """Join the accepted completions with their prompts by id, both in the prompts' order.

    Raises:
        UserError: a completion whose prompt is missing, or stands in another order; or one that stands
            there twice, but for one in several pairs.
    """
    stream = iter(prompts)
    prompt: Prompt | None = None
    told: dict[str, dict[str, float | None]] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for number, row in jsonl.numbered(path):
        while prompt is None or prompt.id != row["prompt_id"]:
            prompt = next(stream, None)
            if prompt is None:
                raise UserError(
                    f"{path}, line {number}",
                    f"prompt {row['prompt_id']!r} is not in the prompt files, or in another order there",
                    "the prompts that these completions were selected with",
                    "pass the same prompt shards, in the same order, as to select.py",
                )
            if diagnostics is not None:
                told = diagnostics.of(prompt.id)
            seen = {}
        before = seen.setdefault((row["id"], row.get("pair"), row.get("role")), number)
        if before != number:
            raise UserError(
                f"{path}, line {number}",
                f"completion {row['id']} stands already in line {before}",
                "each completion once, and one of several pairs once in each",
                "remove one of the two lines, or select again: select.py writes each once",
            )
        yield source(row, prompt, told.get(row["id"], {}))


def scored(groups: Iterable[Group]) -> Iterator[Source]:
    """Every scored completion with its prompt."""
    for group in groups:
        for row in group.completions:
            yield source(row, group.prompt)


def source(row: dict[str, Any], prompt: Prompt, diagnostics: dict[str, float | None] | None = None) -> Source:
    """A completion as formats take it."""
    origin = Origin(
        prompt_id=prompt.id,
        reference=prompt.reference,
        metadata=prompt.metadata,
        scores={name: score["value"] for name, score in row["scores"].items()},
        reference_scores=row.get("reference_scores") or dict.fromkeys(row["scores"]),
        diagnostics=diagnostics or {},
        alpha=row.get("alpha") or "",
    )
    return Source(row, prompt, Conversation(prompt.messages, row["text"], prompt.images, origin))


def grouped(takes: Takes, sources: Iterable[Source]) -> Iterator[tuple[Unit, list[Source]]]:
    """What a format makes its rows of, each with the completions behind it.

    Raises:
        UserError: for pairs, a member whose other one is missing.
    """
    units: Iterator[list[Source]]
    if takes == "pairs":
        units = _pairs(sources)
    elif takes == "prompts":
        units = _prompts(_once(sources))
    else:
        units = ([each] for each in (sources if takes == "all" else _once(sources)))
    for index, members in enumerate(units):
        conversations = [
            replace(each.conversation, origin=replace(each.conversation.origin, index=index))
            for each in members
        ]
        yield _unit(takes, conversations), members


def _unit(takes: Takes, members: Sequence[Conversation]) -> Unit:
    first = members[0]
    if takes == "pairs":
        return Pair(first, members[1])
    if takes == "prompts":
        completions = [each.completion for each in members]
        return Answered(first.messages, completions, first.images, first.origin)
    return first


def _once(sources: Iterable[Source]) -> Iterator[Source]:
    """The chosen completions, each once: it may be chosen in several pairs."""
    for _, members in groupby(sources, key=lambda each: each.prompt.id):
        seen: set[str] = set()
        for each in members:
            if each.row.get("role", CHOSEN) == CHOSEN and each.row["id"] not in seen:
                seen.add(each.row["id"])
                yield each


def _prompts(sources: Iterable[Source]) -> Iterator[list[Source]]:
    for _, members in groupby(sources, key=lambda each: each.prompt.id):
        yield list(members)


def _pairs(sources: Iterable[Source]) -> Iterator[list[Source]]:
    stream = iter(sources)
    while pair := list(islice(stream, 2)):
        roles = [each.row.get("role") for each in pair]
        places = [(each.prompt.id, each.row.get("pair")) for each in pair]
        if roles != [CHOSEN, REJECTED] or places[0] != places[1]:
            raise UserError(
                f"completion {pair[0].row['id']}",
                " followed by ".join([*map(_described, pair), *["the end of the file"][len(pair) - 1 :]]),
                "a chosen completion and behind it the rejected one of the same pair",
                f"select with {_TO_PAIR}, or export in a format of single completions",
            )
        yield pair


def _described(member: Source) -> str:
    row = member.row
    return f"{row['id']} (pair {row.get('pair')}, role {row.get('role')})"
