"""Write a training-data file, read it back as a trainer would, and verify every row again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
from winnow.errors import UserError
from winnow.formats.format import Conversation, Format
from winnow.records import Prompt
from winnow.scoring import Scorer

Source = tuple[dict[str, Any], Prompt, Conversation]
"""An accepted completion's row, its prompt, and what is to be written of them."""


def conversations(accepted: str | Path, prompts: Iterable[Prompt]) -> Iterator[Source]:
    """Join the accepted completions with their prompts by id, both in the prompts' order.

    Raises:
        UserError: a completion whose prompt is missing, or stands in another order.
    """
    stream = iter(prompts)
    prompt: Prompt | None = None
    for number, row in jsonl.numbered(accepted):
        while prompt is None or prompt.id != row["prompt_id"]:
            prompt = next(stream, None)
            if prompt is None:
                raise UserError(
                    f"{accepted}, line {number}",
                    f"prompt {row['prompt_id']!r} is not in the prompt files, or in another order there",
                    "the prompts that these completions were selected with",
                    "pass the same prompt shards, in the same order, as to select.py",
                )
        yield row, prompt, Conversation(prompt.messages, row["text"], prompt.images)


def write(path: Path, fmt: Format, rows: Iterable[Conversation]) -> None:
    """Write rows as JSONL, or as one JSON list where the format's file is .json; streamed."""
    listed = path.suffix == ".json"
    with jsonl.replacing(path) as file:
        number = 0
        for number, conversation in enumerate(rows, start=1):
            line = _line(fmt, conversation, f"{path}, row {number}")
            if listed:
                file.write(b"[\n" if number == 1 else b",\n")
                file.write(line)
            else:
                file.write(line + b"\n")
        if listed:
            file.write(b"\n]\n" if number else b"[]\n")


def _line(fmt: Format, conversation: Conversation, where: str) -> bytes:
    """A row as JSON; `where` goes into the error."""
    try:
        return orjson.dumps(fmt.to_row(conversation))
    except orjson.JSONEncodeError as error:
        raise UserError(
            where,
            f"cannot be written as JSON ({error})",
            "text, numbers, lists and objects",
            "correct the format",
        ) from None
    except UserError as error:
        raise error.at(where) from error


def read(path: Path, fmt: Format) -> Iterator[Conversation]:
    """Read the file back, a row at a time."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            body = line.strip().rstrip(b",")
            if body in (b"[", b"]", b"[]"):
                continue
            where = f"{path}, line {number}"
            row = jsonl.parse_line(body + b"\n", where)
            try:
                yield fmt.from_row(row)
            except UserError as error:
                raise error.at(where) from error


def verify(
    path: Path,
    fmt: Format,
    source: Iterable[Source],
    scorers: Mapping[str, Scorer],
) -> int:
    """Compare the file row by row with what it was made of, and run the verifiers again.

    Returns:
        The number of rows.

    Raises:
        UserError: a row that reads back differently, or whose verifier now says otherwise.
    """
    count = 0
    back = read(path, fmt)
    for row, prompt, conversation in source:
        count += 1
        found = next(back, None)
        if found != conversation:
            raise _unfit(path, row, "its row does not read back as what was selected")
        for name, scorer in scorers.items():
            score, recorded = scorer.score(found.completion, prompt.reference), row["scores"].get(name)
            if recorded is None:
                raise _unfit(path, row, f"it was never scored with {name}, which is to verify it")
            if (score.value, score.passed) != (recorded["value"], recorded["passed"]):
                raise _unfit(
                    path,
                    row,
                    f"{name} now gives {score.value} (passed: {score.passed}), "
                    f"the scored file has {recorded['value']} (passed: {recorded['passed']})",
                )
    if next(back, None) is not None:
        raise UserError(
            path, f"more than the {count} rows that were selected", f"{count} rows", "report this"
        )
    return count


def _unfit(path: Path, row: dict[str, Any], found: str) -> UserError:
    return UserError(
        path,
        f"completion {row['id']}: {found}",
        "every exported row to carry its completion unchanged and to verify again",
        "delete the scored file of this completion and run again; if it stays, report it",
    )
