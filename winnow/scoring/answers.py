"""Find the answer in a completion or in a reference, and bring it to one form."""

from __future__ import annotations

import re

_DIGITS = r"(\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))((?:\.\d+)?)"
_NUMBER = re.compile(rf"([-+]?){_DIGITS}")
_STATED = re.compile(rf"([-+]?)\$?{_DIGITS}((?:[eE][-+]?\d+\b)?)")
"""A number in a text: its sign may stand before a currency sign, and it may have an exponent."""
MINUS = str.maketrans("\u2212\u2013", "--")
"""The minus sign of typography, and the dash that is written for it, as Python reads a number's sign."""
OPEN, CLOSE = "<answer>", "</answer>"


def extract_answer(text: str) -> str | None:
    """The last stated answer: ``<answer>…</answer>``, else ``\\boxed{…}``, else ``#### …``; or None.

    Of a box within the tags it is what stands in the box: many prompts ask for both. A tag that is opened
    and not closed states nothing: the completion was cut off.
    """
    start = text.rfind(OPEN)
    if start >= 0:
        end = text.find(CLOSE, start)
        if end < 0:
            return None
        stated = text[start + len(OPEN) : end]
        boxed = _last_boxed(stated)
        return (stated if boxed is None else boxed).strip()
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    _, mark, tail = text.rpartition("####")
    if mark:
        return tail.strip().split("\n", 1)[0].strip() or None
    return None


def cut_off(text: str) -> bool:
    """Whether a text ends within an answer that it has begun to state."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def last_line(text: str) -> str | None:
    """The last line that is not empty; None where there is none, or where an answer was cut off."""
    if cut_off(text):
        return None
    lines = text.rstrip().rsplit("\n", 1)
    return lines[-1].strip() or None


def extract_reference(reference: str) -> str:
    """The answer in a reference, which may be the bare answer or a whole worked solution."""
    return extract_answer(reference) or reference.strip()


def _last_boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{…}``; braces may nest."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    begin = start + len("\\boxed")
    for index in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[begin + 1 : index]
    return None


def normalize(answer: str) -> str:
    """One form for equal answers: case and space folded, numbers without ``$``, separators or idle zeros."""
    if answer.isascii() and answer.isdigit():
        return answer.lstrip("0") or "0"
    folded = " ".join(answer.casefold().split()).rstrip(".")
    match = _NUMBER.fullmatch(folded.replace("$", "").translate(MINUS).strip())
    if match is None:
        return folded
    sign, whole, decimals = match.groups()
    whole = whole.replace(",", "").lstrip("0") or "0"
    decimals = decimals.rstrip("0").rstrip(".")
    return ("-" if sign == "-" and whole + decimals != "0" else "") + whole + decimals


def parse_number(answer: str) -> float | None:
    """The number in an answer, or None unless there is exactly one."""
    if answer.isascii() and answer.isdigit():
        return float(answer)
    found = list(_STATED.finditer(answer.translate(MINUS)))
    return float(found[0].group().replace(",", "").replace("$", "")) if len(found) == 1 else None
