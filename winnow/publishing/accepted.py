"""The accepted completions of an arm: how many, of which models, and what rows are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import is_reference

MEND = "run the pipeline again, so that select.py writes these files anew; then publish"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepted.jsonl has.

    Attributes:
        completions: different ones that a model drew.
        references: prompts' references that are among them.
        chosen: those of them that are trained towards: all but the rejected members of pairs.
        pairs: rows that are the chosen member of one.
        prompts: with any of them.
        models, teachers: hashes, sorted.
    """

    completions: int
    references: int
    chosen: int
    pairs: int
    prompts: int
    models: tuple[str, ...]
    teachers: tuple[str, ...]


def count(path: Path) -> Accepted:
    """Read accepted.jsonl, a prompt at a time.

    Raises:
        UserError: a row without what every completion has.
    """
    completions = references = chosen = pairs = prompts = 0
    models: set[str] = set()
    teachers: set[str] = set()
    for _, rows in _by_prompt(path):
        prompts += 1
        drawn = [row for row in rows if not is_reference(row)]
        completions += len({row["id"] for row in drawn})
        references += len({row["id"] for row in rows}) - len({row["id"] for row in drawn})
        chosen += len(_once(rows))
        pairs += sum("role" in row and is_chosen(row) for row in rows)
        models.update(row["model"] for row in drawn)
        teachers.update(row["teacher"] for row in rows if row.get("teacher"))
    return Accepted(
        completions, references, chosen, pairs, prompts, tuple(sorted(models)), tuple(sorted(teachers))
    )


def is_chosen(row: Mapping[str, Any]) -> bool:
    """Whether a row is trained towards: all but the rejected member of a pair."""
    return bool(row.get("role", "chosen") == "chosen")


def check_totals(path: Path, found: Accepted, totals: Mapping[str, Any]) -> None:
    """Compare the rows with the totals of the selection.

    Raises:
        UserError: they differ, or nothing was accepted.
    """
    references = totals.get("references", {}).get("accepted", 0)
    pairs = (
        (found.completions, totals["accepted"], "completions", "accepted"),
        (found.references, references, "references", "references: accepted"),
        (found.prompts, totals["prompts_with_accepted"], "prompts", "prompts_with_accepted"),
    )
    for number, expected, what, key in pairs:
        if number != expected:
            told = f"{expected}, which statistics.json and the ledger have as {key!r}"
            raise UserError(path, f"{number} {what}", told, MEND)
    if found.completions + found.references == 0:
        raise UserError(path, "no completion was accepted", "something to publish", "publish another arm")


def texts(path: Path, takes: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (id, texts) for each row of training data that is made of these completions.

    Args:
        path: accepted.jsonl.
        takes: what a row is made of: `chosen`, one completion; `pairs`, a chosen and a rejected one;
            `prompts`, all that were chosen of a prompt.
    """
    for _, rows in _by_prompt(path):
        if takes == "pairs":
            for first, second in zip(rows[::2], rows[1::2], strict=False):
                yield first["id"], [first["text"], second["text"]]
        elif takes == "prompts":
            chosen = _once(rows)
            yield rows[0]["prompt_id"], [row["text"] for row in chosen]
        else:
            for row in _once(rows):
                yield row["id"], [row["text"]]


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chosen completions; one that was chosen in several pairs stands once."""
    return list({row["id"]: row for row in rows if is_chosen(row)}.values())


def _by_prompt(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for prompt, rows in groupby(_rows(path), key=lambda row: str(row["prompt_id"])):
        yield prompt, list(rows)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, row in jsonl.numbered(path):
        needed = ("id", "prompt_id", "text") if is_reference(row) else ("id", "prompt_id", "text", "model")
        missing = [key for key in needed if key not in row]
        if missing:
            where = f"{path}, line {number}"
            raise UserError(where, f"no {missing[0]!r}", "a row as select.py writes it", MEND)
        yield row
