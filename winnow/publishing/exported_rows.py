"""The rows of training data beside the accepted completions that they were made of."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Conversation, Format

MEND = "run the pipeline to its end, so that export.py writes and verifies this file again; then publish"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepted.jsonl has: rows, those of them that are exported, their prompts, their models."""

    rows: int
    chosen: int
    prompts: int
    models: tuple[str, ...]
    teachers: tuple[str, ...]


def count(accepted: Path) -> Accepted:
    """Read accepted.jsonl, in constant memory.

    Raises:
        UserError: a row without what every completion has.
    """
    rows = chosen = prompts = 0
    models, teachers = set(), set()
    last = None
    for number, row in jsonl.numbered(accepted):
        missing = [key for key in ("prompt_id", "text", "model") if key not in row]
        if missing:
            raise UserError(
                f"{accepted}, line {number}", f"no {missing[0]!r}", "a row as select.py writes it", MEND
            )
        rows += 1
        chosen += is_chosen(row)
        prompts += row["prompt_id"] != last
        last = row["prompt_id"]
        models.add(row["model"])
        teachers.add(row.get("teacher"))
    return Accepted(rows, chosen, prompts, tuple(sorted(models)), tuple(sorted(filter(None, teachers))))


def is_chosen(row: Mapping[str, Any]) -> bool:
    """Whether a row is trained towards: all but the rejected member of a pair."""
    return bool(row.get("role", "chosen") == "chosen")


def check_totals(accepted: Path, counts: Accepted, totals: Mapping[str, Any]) -> None:
    """Compare the rows with the totals of the selection.

    Raises:
        UserError: they differ, or nothing was accepted.
    """
    pairs = (
        (counts.rows, totals["accepted"], "rows", "accepted"),
        (counts.prompts, totals["prompts_with_accepted"], "prompts", "prompts_with_accepted"),
    )
    for found, expected, what, key in pairs:
        if found != expected:
            raise UserError(
                accepted,
                f"{found} {what}",
                f"{expected}, which statistics.json and the ledger have as {key!r}",
                "run the pipeline again, so that select.py writes these files anew; then publish",
            )
    if counts.rows == 0:
        raise UserError(accepted, "no completion was accepted", "something to publish", "publish another arm")


def verify(path: Path, fmt: Format, accepted: Path, expected: int) -> tuple[int, bool]:
    """Compare a file with the accepted completions, row by row.

    Returns:
        Its rows, and whether they name images.

    Raises:
        UserError: more or fewer rows than `expected`, or one that holds another completion.
    """
    if path.suffix == ".parquet":
        rows, images = _parquet(path)
    else:
        _check_end(path)
        rows, images = 0, False
        chosen = (row for row in jsonl.rows(accepted) if is_chosen(row))
        for found, row in zip_longest(_read(path, fmt), chosen):
            if found is None or row is None:
                # One side is at its end: count on, for the message.
                rows += found is not None
                continue
            rows += 1
            if isinstance(found, Conversation):
                images = images or bool(found.images)
                if found.completion != row["text"]:
                    raise UserError(
                        f"{path}, row {rows}",
                        "its completion is not the one that was selected",
                        f"the text of completion {row.get('id')!r} in {accepted}",
                        MEND,
                    )
    if rows != expected:
        raise UserError(path, f"{rows} rows", f"{expected}, as many as {accepted} has to export", MEND)
    return rows, images


def _check_end(path: Path) -> None:
    """A file that was cut between two rows reads well row by row."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2, 0))
        end = file.read()
    if not end.endswith(b"]\n" if path.suffix == ".json" else b"\n"):
        raise UserError(path, "its end is missing", "a whole file", MEND)


def _read(path: Path, fmt: Format) -> Iterator[Any]:
    """The rows as a trainer sees them.

    Raises:
        UserError: a row that the format cannot read.
    """
    try:
        yield from files.read(path, fmt)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path, f"a row that is none of its format ({type(error).__name__}: {error})", "whole rows", MEND
        ) from None


def _parquet(path: Path) -> tuple[int, bool]:
    # Only this format needs it.
    described = importlib.import_module("pyarrow.parquet").ParquetFile(path)
    return described.metadata.num_rows, "images" in described.schema_arrow.names
