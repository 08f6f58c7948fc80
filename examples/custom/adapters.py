"""Rows as the Alpaca data set has them: ``{"instruction", "input", "output"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from winnow.adapters import Example
from winnow.errors import UserError
from winnow.scoring.answers import extract_reference


def alpaca(row: Mapping[str, Any], where: str) -> Example:
    """Join instruction and input into the prompt, and take the final answer out of a worked output.

    The built-in adapters take one field for the prompt, and would hand the whole solution to the
    teacher where its template says ``{{ reference }}``.
    """
    for field in ("instruction", "output"):
        if not isinstance(row.get(field), str):
            raise UserError(where, f"no text in {field!r}", "instruction, input, output", "mend the row")
    given = [row["instruction"], row.get("input")]
    return Example(prompt="\n\n".join(filter(None, given)), reference=extract_reference(row["output"]))
