"""From a judge's answer to its verdict, or to none: what cannot be read is missing, never a score."""

from __future__ import annotations

import re
from typing import Any

import orjson

FIRST, SECOND, TIE = "first", "second", "tie"
VERDICTS = (FIRST, SECOND, TIE)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "verdict": {"enum": list(VERDICTS), "type": "string"}},
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}
"""Of the answer; the reason comes first, so that the verdict follows from it."""
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA},
}

REASONED = "</think>"
"""Where a model's reasoning ends, if the server has not split it off."""
FENCE = "```"
_DECORATION = "*_`#>|- \t\r"
# Bounded repeats: an answer may be a hundred thousand asterisks.
_OPEN, _CLOSE = r"[\"'\[(*_]{0,6}", r"[\"'\])*_.]{0,6}"
_WORD = re.compile(rf"{_OPEN}({'|'.join(VERDICTS)}){_CLOSE}", re.IGNORECASE)
_LINE = re.compile(rf"[\"']?verdict[\"'*_]{{0,4}}\s?[:=][*_]{{0,4}}\s{{0,4}}{_WORD.pattern}", re.IGNORECASE)


def parse(text: str) -> str | None:
    """The verdict of an answer: one of `VERDICTS`, or None where it states none, or more than one.

    An answer is the JSON of `SCHEMA`; or text whose last line is a verdict, ``verdict: first``; or that one
    word. Whatever else it says is not looked at: it may quote what was judged.
    """
    said = text.rpartition(REASONED)[2].strip()
    if said.startswith(FENCE) and said.endswith(FENCE):
        said = said.strip("`").removeprefix("json").strip()
    if said.startswith("{"):
        whole = _of_json(said)
        if whole is not None:
            return whole
    if word := _WORD.fullmatch(said):
        return word[1].lower()
    lines = [line.strip(_DECORATION) for line in said.splitlines() if line.strip(_DECORATION)]
    stated = [_of_line(line) for line in lines]
    if not stated or stated[-1] is None:
        return None
    return stated[-1] if len({each for each in stated if each}) == 1 else None


def _of_line(line: str) -> str | None:
    if line.startswith("{"):
        return _of_json(line)
    found = _LINE.fullmatch(line)
    return found[1].lower() if found else None


def _of_json(text: str) -> str | None:
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    said = answer.get("verdict") if isinstance(answer, dict) else None
    said = said.strip().lower() if isinstance(said, str) else None
    return said if said in VERDICTS else None
