"""The vote of a prompt's completions: whether the answer that most of them state is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from winnow.records import NOT_GENERATED
from winnow.scoring import measure
from winnow.selection.answer_classes import answer_class, majority


def vote(completions: Iterable[Mapping[str, Any]], scorer: str) -> tuple[float, bool]:
    """1 if the largest class of equal answers passed, else 0; and whether another class is as large.

    Classes are those of the selection's `majority`: of equally large ones that with the earliest sample
    counts, and a prompt whose completions state no answer is not solved. NaN where nothing was generated,
    or the scorer reads no answers (its value is a reward).
    """
    drawn = [row for row in completions if row["finish_reason"] not in NOT_GENERATED]
    scores = [row["scores"][scorer] for row in drawn if scorer in row["scores"]]
    if not scores or measure(scorer) == "reward":
        return math.nan, False
    classes = [answer_class(score, measure(scorer)) for score in scores]
    found = majority(classes)
    if found is None:
        return 0.0, False
    return float(scores[classes.index(found.winner)]["passed"]), found.tied
