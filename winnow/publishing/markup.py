"""Text of others in Markdown: it shows as it is, whatever it holds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_SPECIAL = re.compile(
    r"[\\`*_{}\[\]<>&|~$!#@]"  # markup, HTML, formulas and addresses anywhere
    r"|:(?=//)|(?<=www)\."  # what becomes a link by itself
    r"|^[-+=]|(?:(?<=^\d)|(?<=^\d\d)|(?<=^\d\d\d))[.)](?=\s|$)"  # lists and underlines at a line's start
)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def plain(text: Any) -> str:
    """Text within a line: no markup, no HTML, no link, no line break; control characters as spaces."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in str(text))
    return _SPECIAL.sub(lambda m: _ENTITIES.get(m[0], "\\" + m[0]), " ".join(shown.split()))


def fenced(text: str, language: str = "") -> str:
    """A block of code whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    clean = "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    return f"{fence}{language}\n{clean}\n{fence}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers are aligned to the right and written with thousands separators.

    Args:
        columns: headings of our own.
        rows: whole numbers, or text of others.
    """
    numeric = [all(isinstance(row[i], int) for row in rows) and bool(rows) for i in range(len(columns))]
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else plain(value)
