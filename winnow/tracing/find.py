"""Find records by id in JSONL files, a line at a time."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
from winnow.errors import UserError
from winnow.tracing.run import Line

MOST_NEAR = 3
Found = tuple[Line, dict[str, Any]]


def by_id(paths: Iterable[Path], wanted: str) -> Found | None:
    """The first record of that id, with its file and line."""
    # Most lines are of others: they need not be parsed. An id is written as JSON, as it stands in the line.
    mark = orjson.dumps(wanted)
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if mark in line:
                    row = jsonl.parse_line(line, f"{path}, line {number}")
                    if row.get("id") == wanted:
                        return (path, number), row
    return None


def near(paths: Iterable[Path], wanted: str) -> list[str]:
    """The ids most like one that is not there."""
    ids = (str(row.get("id")) for path in paths for row in jsonl.rows(path))
    matcher = difflib.SequenceMatcher(b=wanted)

    def alike(other: str) -> float:
        matcher.set_seq1(other)
        return matcher.ratio() if matcher.real_quick_ratio() > 0.5 else 0.0

    ranked = heapq.nlargest(MOST_NEAR, ((alike(each), each) for each in ids))
    return list(dict.fromkeys(each for share, each in ranked if share > 0.5))


def row_of(path: Path, line: int) -> dict[str, Any]:
    """The row that stands in a line of a JSONL file, or of a list that is written a row a line.

    Raises:
        UserError: there is no such file or line, or no row in it.
    """
    expected = "a line of it that holds a row"
    if path.suffix not in (".json", ".jsonl"):
        raise UserError(
            path,
            f"a {path.suffix} file",
            "a .jsonl or .json file of training data",
            "name another format's file",
        )
    try:
        with path.open("rb") as file:
            text = next((each for number, each in enumerate(file, start=1) if number == line), None)
    except OSError as error:
        raise UserError(
            path, f"cannot be read ({error.strerror})", "a file of training data", "check --file"
        ) from None
    if text is None or text.strip() in (b"[", b"]", b"[]"):
        found = "no such line" if text is None else "a bracket of the list"
        raise UserError(f"{path}, line {line}", found, expected, "correct --line")
    return jsonl.parse_line(text.strip().rstrip(b",") + b"\n", f"{path}, line {line}")


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)
