"""Competition problems with a short answer and a worked solution, as DeepScaleR publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from winnow.adapters.example import Adapter, Example
from winnow.adapters.fields import has, id_of, one_text, several
from winnow.errors import UserError
from winnow.records import content_id


def deepscaler() -> Adapter:
    """Rows of ``{problem, answer, solution}``: the answer is the reference, the solution stays metadata.

    Without an id of their own, rows are known by problem and answer: another template keeps the ids.
    """

    def read(row: Mapping[str, Any], where: str) -> Example:
        problem, answer = row.get("problem"), row.get("answer")
        for field, value in (("problem", problem), ("answer", answer)):
            if value is None or not str(value).strip():
                raise UserError(
                    where,
                    f"no {field!r} ({has(row)})",
                    "problem, answer and, if there is one, solution",
                    "mend the row, or choose the adapter auto",
                )
        asked, expected = one_text(problem), one_text(answer)
        if asked is None or expected is None:
            field, value = ("problem", problem) if asked is None else ("answer", answer)
            raise several(field, value, where, "choose the adapter generic, with the fields that have one")
        known = content_id(orjson.dumps([asked, expected]).decode())
        return Example(prompt=asked, reference=expected, id=id_of(row) or known)

    return read
