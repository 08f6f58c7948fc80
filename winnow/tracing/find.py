"""Find records by id in JSONL files, a line at a time."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
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
