"""Completions that state the same answer: an equivalence of answers, not of strings."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from winnow.scoring.answers import normalize, parse_number
from winnow.scoring.score import Measure

UNSTATED = ("", "no answer found", "no match")
UNREADABLE = "not mathematics: "
"""What scorers say of a completion that states no answer, or begin to say of one that they cannot read."""
FRACTION = re.compile(r"([-+]?)(?:\\[dt]?frac\{(\d+)\}\{(\d+)\}|(\d+)/(\d+))")
DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
LONGEST = 200
"""Characters of an answer that is read as a number: Python reads no integer of thousands of digits."""
PASSED = ("passed",)
"""The class of all answers that equal the reference; no text is equal to it."""


def answer_class(score: Mapping[str, Any], kind: Measure) -> Hashable | None:
    """What all completions with the same answer have in common, or None where no answer is stated.

    It is the answer that the scorer found, its `detail`, as `normalize` writes it; for an error, whose
    answers are numbers, the number: "3.50" and "$3.5" are one answer, and so are "7" and "7 dB". Of a
    verdict, all that passed are one answer: the verifier has found each of them equal to the reference; of
    the others, those to which it gave the same `answer_class` or, where it gave none, those that are the
    same number: "1/2", "\\frac{1}{2}", "0.5" and "50 %".
    """
    detail = score["detail"]
    if score["value"] is None or detail in UNSTATED or detail.startswith(UNREADABLE):
        return None
    if kind == "verdict" and score["passed"]:
        return PASSED
    if (key := score.get("answer_class")) is not None:
        # Of a number it is that number, as it is where there is no key.
        stated = _exact(key)
        return ("key", key) if stated is None else stated
    if kind == "error":
        number = parse_number(detail)
        return normalize(detail) if number is None else number
    answer = normalize(detail)
    exact = _exact(answer)
    return answer if exact is None else exact


def _exact(answer: str) -> Fraction | None:
    """The number that an answer consists of, if it is one: a decimal, a fraction, or per cent of either."""
    if len(answer) > LONGEST:
        return None
    text = answer.strip("$ ").replace("\\%", "%").replace(" ", "")
    bare = text.removesuffix("%")
    if found := FRACTION.fullmatch(bare):
        sign, above, below = found[1], found[2] or found[4], found[3] or found[5]
        value = Fraction(int(above), int(below)) * (-1 if sign == "-" else 1) if int(below) else None
    else:
        value = Fraction(bare) if DECIMAL.fullmatch(bare) else None
    return value / 100 if value is not None and text != bare else value


@dataclass(frozen=True)
class Majority:
    """The largest class of a prompt's answers.

    Attributes:
        winner: the class; of equally large ones that with the earliest sample.
        size: how many completions state it.
        tied: whether another class is as large.
    """

    winner: Hashable
    size: int
    tied: bool


def majority(classes: Iterable[Hashable | None]) -> Majority | None:
    """The largest class among those of a prompt's completions, by sample; None if no answer is stated."""
    sizes: dict[Hashable, int] = {}
    for each in classes:
        if each is not None:
            sizes[each] = sizes.get(each, 0) + 1
    if not sizes:
        return None
    # The first of the largest: a dictionary keeps the order in which the classes came.
    winner = max(sizes, key=lambda each: sizes[each])
    return Majority(winner, sizes[winner], list(sizes.values()).count(sizes[winner]) > 1)
